from __future__ import annotations

import datasets
import pytest
import torch

from rlhf.config.data import SourceConfig
from rlhf.data.demonstrations import load_demonstrations
from rlhf.errors import ConfigError, DataError
from rlhf.flow.text import Demonstrations
from tests.unit.data.conftest import CHATML, build

USER = {"role": "user", "content": "hello world"}
GOOD = {"role": "assistant", "content": "good film"}


def learned(tokenizer, batch):
    return [
        tokenizer.decode(tokens[mask].tolist())
        for tokens, mask in zip(batch.tokens_BT, batch.loss_mask_BT, strict=True)
    ]


def test_every_format_in_one_mixture(chatml, write, configured):
    paths = [
        write("a.jsonl", [{"text": "the film"}, {"prompt": "hello ", "completion": "there"}]),
        write("b.jsonl", [{"messages": [USER, GOOD]}, {"prompt": [USER], "completion": [GOOD]}]),
    ]
    found = load_demonstrations(configured(demonstrations=paths), chatml)
    batch = found.train
    assert learned(chatml, batch)[1:] == ["there<|im_end|>", *["good film<|im_end|>"] * 2]
    assert torch.equal(batch.tokens_BT[2], batch.tokens_BT[3])
    assert chatml.decode(batch.tokens_BT[0, : batch.lengths_B[0]]) == "the film<|im_end|>"
    assert found.dropped == 0
    outside = torch.arange(batch.tokens_BT.shape[1]) >= batch.lengths_B[:, None]
    assert not batch.loss_mask_BT[outside].any()
    assert not batch.tokens_BT[outside].any()


def test_empty_sides_are_batches_that_can_be_cut_and_joined(chatml, write, configured):
    path = write("a.jsonl", [{"text": "the film"}])
    found = load_demonstrations(configured(demonstrations=path), chatml)
    for empty in (found.validation, found.test):
        assert len(empty) == 0
        assert len(empty.select([])) == 0
        joined = Demonstrations.concat([empty, found.train, empty])
        assert torch.equal(joined.tokens_BT, found.train.tokens_BT)
        assert [len(part) for part in empty.split(2)] == [0, 0]


def test_parquet_conversations_lose_the_nulls_of_their_table(chatml, tmp_path, configured):
    path = tmp_path / "a.parquet"
    call = {"role": "assistant", "content": "good film", "name": "x"}
    table = {"messages": [[USER, GOOD], [USER, call]], "text": [None, None]}
    datasets.Dataset.from_dict(table).to_parquet(str(path))
    batch = load_demonstrations(configured(demonstrations=str(path)), chatml).train
    assert learned(chatml, batch) == ["good film<|im_end|>"] * 2


def test_tools_and_template_variables_of_a_row_are_learned_from_as_the_library_renders(
    chatml_with, write, configured
):
    # The oracle is transformers' own rendering of the row.
    shown = "{{ mood }}{% for t in tools or [] %}{{ t.function.name }}{% endfor %}"
    tokenizer = chatml_with(shown + CHATML)
    tools = [{"type": "function", "function": {"name": "clock", "parameters": {}}}]
    options = {"tools": tools, "chat_template_kwargs": {"mood": "glad "}}
    rows = [{"messages": [USER, GOOD]}, {"prompt": [USER], "completion": [GOOD]}]
    path = write("a.jsonl", [{**row, **options} for row in rows])
    batch = load_demonstrations(configured(demonstrations=path), tokenizer).train
    whole = tokenizer.apply_chat_template([USER, GOOD], tokenize=False, tools=tools, mood="glad ")
    for tokens_T, length in zip(batch.tokens_BT, batch.lengths_B, strict=True):
        assert tokenizer.decode(tokens_T[:length]) == whole.removesuffix("\n")


def test_wrong_columns_name_the_legal_sets_and_the_nearest(chatml, write, configured):
    path = write("a.jsonl", [{"prompt": "x", "response": "y"}] * 3)
    with pytest.raises(DataError) as caught:
        load_demonstrations(configured(demonstrations=path), chatml)
    message = str(caught.value)
    assert f"{path}:1: columns prompt, response fit no format" in message
    assert "prompt + completion | messages | text" in message
    assert "nearest: prompt + completion (missing: completion)" in message
    assert "2 more rows" in message


BAD = [
    ({"text": " "}, "text is empty"),
    ({"text": [USER]}, "must be text"),
    ({"messages": "hello"}, "must be a list of messages"),
    ({"messages": []}, "messages is empty"),
    ({"messages": ["hello"]}, r"messages\[0\] is of type str"),
    ({"messages": [{"from": "human", "value": "x"}]}, "keys from, value"),
    ({"messages": [{"role": "user"}]}, "no content"),
    ({"messages": [USER]}, "no assistant turn"),
    ({"prompt": "", "completion": "x"}, "prompt is empty"),
    ({"prompt": "x", "completion": ""}, "completion is empty"),
    ({"prompt": "x", "completion": [GOOD]}, "prompt is text, completion is messages"),
    ({"prompt": [USER], "completion": [USER, GOOD]}, "starts with role user"),
    ({"prompt": [USER], "completion": [GOOD, USER]}, "ends with role user"),
    ({"prompt": [USER], "completion": [{**GOOD, "content": " "}]}, "completion is empty"),
    ({"prompt": 3, "completion": "x"}, "prompt is of type int"),
    ({"messages": [USER, GOOD], "tools": "{"}, "tools is text but not JSON"),
    ({"messages": [USER, GOOD], "chat_template_kwargs": [1]}, "must be a dict"),
]


@pytest.mark.parametrize(("row", "reason"), BAD)
def test_bad_rows_name_file_and_line(row, reason, chatml, write, configured):
    path = write("a.jsonl", [{"text": "fine"}, row])
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{reason}"):
        load_demonstrations(configured(demonstrations=path), chatml)


def test_all_bad_rows_of_all_files_are_reported_at_once(chatml, write, configured):
    paths = [write(f"{n}.jsonl", [{"text": ""}] * 25) for n in "ab"]
    with pytest.raises(DataError) as caught:
        load_demonstrations(configured(demonstrations=paths), chatml)
    lines = str(caught.value).splitlines()
    assert len(lines) == 42
    assert lines[0].startswith("25 problems")
    assert lines[21].startswith("25 problems")


def test_messages_without_a_template_name_the_line_and_the_remedy(plain, write, configured):
    path = write("a.jsonl", [{"text": "fine"}, {"messages": [USER, GOOD]}])
    with pytest.raises(DataError, match=r"a\.jsonl:2: messages need a chat template.*plain text"):
        load_demonstrations(configured(demonstrations=path), plain)


def test_long_rows_stop_the_run_or_are_counted(chatml, write, configured):
    path = write("a.jsonl", [{"text": "film"}, {"text": "\u4e2d" * 40}, {"text": "\u4e2d" * 50}])
    with pytest.raises(DataError) as caught:
        load_demonstrations(configured(demonstrations=path, max_length=60), chatml)
    assert f"{path}:2: 121 tokens, 60 allowed" in str(caught.value)
    assert f"{path}:3: 151 tokens" in str(caught.value)
    config = configured(demonstrations=path, max_length=121, overlong="drop")
    found = load_demonstrations(config, chatml)
    assert (len(found.train), found.dropped) == (2, 1)
    with pytest.raises(DataError, match="all 3 rows"):
        load_demonstrations(config.model_copy(update={"max_length": 2}), chatml)


def test_weights_repeat_the_rows_of_their_source(chatml, write, configured):
    once = write("a.jsonl", [{"text": f"film {n}"} for n in range(3)])
    twice = SourceConfig(path=write("b.jsonl", [{"text": "world"}]), weight=2.0)
    found = load_demonstrations(configured(demonstrations=[once, twice]), chatml)
    assert len(found.train) == 5


def test_a_conversation_lies_on_its_prompts_side(chatml, write, configured):
    users = [{"role": "user", "content": f"film {n}"} for n in range(60)]
    whole = write("a.jsonl", [{"messages": [user, GOOD]} for user in users])
    parts = write("b.jsonl", [{"prompt": [user], "completion": [GOOD]} for user in users])
    fractions = {"validation_fraction": 0.3, "test_fraction": 0.3}
    first, second = (
        load_demonstrations(configured(demonstrations=path, **fractions), chatml)
        for path in (whole, parts)
    )
    assert 0 < len(first.validation) < 60
    assert torch.equal(first.validation.tokens_BT, second.validation.tokens_BT)
    assert torch.equal(first.test.tokens_BT, second.test.tokens_BT)


def test_rows_that_spell_special_tokens_are_reported(chatml, write, configured, caplog):
    path = write("a.jsonl", [{"text": "<|im_start|>user\nhi<|im_end|>"}, {"text": "film"}])
    load_demonstrations(configured(demonstrations=path), chatml)
    assert "1 plain texts spell special tokens" in caplog.text


def test_no_source_is_an_error(chatml, configured):
    with pytest.raises(ConfigError, match=r"data\.demonstrations is not set"):
        load_demonstrations(configured(), chatml)


def test_the_end_is_learned_even_where_pad_is_eos(write, configured):
    # correctness 1, 2, 5: masks come from lengths; the labels are the answer's tokens and its EOS.
    tokenizer = build(CHATML, bos=False)
    tokenizer.pad_token = tokenizer.eos_token
    answers = ["there", "good film about the world", "a film"]
    rows = [{"prompt": "hello:", "completion": answer} for answer in answers]
    path = write("a.jsonl", rows)
    batch = load_demonstrations(configured(demonstrations=path), tokenizer).train
    ends_B = batch.lengths_B - 1
    numbers_B = torch.arange(3)
    assert (batch.tokens_BT[numbers_B, ends_B] == tokenizer.pad_token_id).all()
    assert batch.loss_mask_BT[numbers_B, ends_B].all()
    wanted = [1 + len(tokenizer(answer)["input_ids"]) for answer in answers]
    assert batch.loss_mask_BT.sum(1).tolist() == wanted
    assert learned(tokenizer, batch) == [f"{answer}<|im_end|>" for answer in answers]
