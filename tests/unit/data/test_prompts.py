from __future__ import annotations

import pytest
import torch

from rlhf.data.prompts import load_prompts
from rlhf.errors import DataError

USER = {"role": "user", "content": "hello world"}


def test_prompts_keep_their_words_and_their_other_columns(llama, write, configured):
    rows = [
        {"prompt": "the film ", "answer": 3},
        {"prompt": [USER], "answer": None},
        {"prompt": [USER, {"role": "assistant", "content": "the"}]},
    ]
    batch = load_prompts(configured(prompts=write("a.jsonl", rows)), llama).train
    assert batch.prompts == tuple(row["prompt"] for row in rows)
    assert batch.columns == ({"answer": 3}, {"answer": None}, {})
    assert batch.sample_B.tolist() == [0, 1, 2]
    assert batch.tokens_BP.shape == (3, int(batch.lengths_B.max()))
    decoded = [
        llama.decode(tokens[:length].tolist())
        for tokens, length in zip(batch.tokens_BP, batch.lengths_B, strict=True)
    ]
    asked = "<s><|im_start|>user\n\nhello world<|im_end|><|im_start|>assistant\n\n"
    assert decoded == ["<s>the film ", asked, asked + "the"]


def test_template_columns_reach_the_template(chatml, write, configured):
    original = chatml.chat_template
    chatml.chat_template = "{{ mood }}{% for t in tools or [] %}{{ t.name }}{% endfor %}" + original
    rows = [
        {"prompt": [USER], "tools": '[{"name": "clock"}]', "chat_template_kwargs": {"mood": "m "}}
    ]
    try:
        batch = load_prompts(configured(prompts=write("a.jsonl", rows)), chatml).train
    finally:
        chatml.chat_template = original
    assert chatml.decode(batch.tokens_BP[0].tolist()).startswith("m clock<|im_start|>")
    assert set(batch.columns[0]) == {"tools", "chat_template_kwargs"}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": []}, "prompt is empty"),
        ({"prompt": [{"role": "system", "content": "x"}]}, "role system"),
        ({"prompts": "x"}, r"nearest: prompt \(missing: prompt\)"),
        ({"prompt": None}, "prompt is empty"),
    ],
)
def test_wrong_rows_name_file_and_line(row, reason, chatml, write, configured):
    path = write("a.jsonl", [{"prompt": "fine"}, row])
    with pytest.raises(DataError, match=rf"a\.jsonl:2: .*{reason}"):
        load_prompts(configured(prompts=path), chatml)


def test_long_prompts_are_dropped_on_request(chatml, write, configured):
    # correctness 2: no prompt is longer than the limit, and none is cut in the middle.
    rows = [{"prompt": "\u4e2d" * 20, "n": 0}, {"prompt": "film", "n": 1}]
    path = write("a.jsonl", rows)
    with pytest.raises(DataError, match="60 tokens, 20 allowed"):
        load_prompts(configured(prompts=path, max_prompt_length=20), chatml)
    found = load_prompts(configured(prompts=path, max_prompt_length=20, overlong="drop"), chatml)
    assert found.dropped == 1
    assert found.train.columns == ({"n": 1},)


def test_empty_sides(chatml, write, configured):
    found = load_prompts(configured(prompts=write("a.jsonl", [{"prompt": "x"}])), chatml)
    assert found.validation.tokens_BP.shape == (0, 0)
    joined = type(found.train).concat([found.validation, found.train])
    assert torch.equal(joined.tokens_BP, found.train.tokens_BP)
    assert joined.prompts == ("x",)


def test_the_same_prompt_meets_the_same_side_in_every_kind(chatml, write, configured):
    from rlhf.data.preferences import load_rankings

    prompts = [{"prompt": f"film {n}"} for n in range(60)]
    pairs = [{**row, "chosen": " a", "rejected": " b"} for row in reversed(prompts)]
    config = configured(
        prompts=write("a.jsonl", prompts),
        preferences=write("b.jsonl", pairs),
        validation_fraction=0.3,
        test_fraction=0.3,
    )
    rankings = load_rankings(config, chatml).test
    ranked = {
        chatml.decode(t[0, : n[0]].tolist()).split(" a")[0]
        for t, n in zip(rankings.tokens_BKT, rankings.lengths_BK, strict=True)
    }
    assert ranked == set(load_prompts(config, chatml).test.prompts)
