"""Rows become examples of the first legal format; faults of all sources are reported at once."""

from __future__ import annotations

import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.examples import Asked, Form, read_examples
from rlhf.errors import ConfigError, DataError

LEGAL = (("prompt", "completion"), ("text",))


def parse(row, columns):
    if row.values[columns[0]] == "bad":
        raise DataError("this row is bad")
    return Asked(prompt=None, answers=(), key="+".join(columns))


def read(configured, sources):
    return read_examples(configured(demonstrations=sources), Form("demonstrations", LEGAL, parse))


def test_each_row_has_the_first_format_that_fits_and_its_sources_weight(write, configured):
    first = write("a.jsonl", [{"text": "x"}, {"text": "x", "prompt": "p", "completion": "c"}])
    second = write("b.jsonl", [{"text": "y", "chat_template_kwargs": {"mood": "glad"}}])
    found = read(configured, [first, SourceConfig(path=second, weight=2.5)])
    assert [e.asked.key for e in found] == ["text", "prompt+completion", "text"]
    assert [e.weight for e in found] == [1.0, 1.0, 2.5]
    assert [e.row.where for e in found] == [f"{first}:1", f"{first}:2", f"{second}:1"]
    assert found[2].options == {"mood": "glad"}


def test_a_kind_without_a_source_names_its_setting(configured):
    with pytest.raises(ConfigError, match=r"data\.demonstrations is not set"):
        read(configured, [])


def test_faults_of_all_sources_are_reported_at_once(write, configured):
    first = write("a.jsonl", [{"text": "x"}, {"text": "bad"}, {"txt": "x"}, {"txt": "y"}])
    second = write("b.jsonl", [{"text": "bad"}])
    with pytest.raises(DataError) as caught:
        read(configured, [first, second])
    message = str(caught.value)
    assert f"{first}:2: this row is bad" in message
    assert f"{first}:3: columns txt fit no format" in message
    assert "1 more row" in message
    assert f"{second}:1: this row is bad" in message


@pytest.mark.parametrize("value", ["x" * (2**20 + 1), [{"role": "user", "content": "x" * 2**20}]])
@pytest.mark.parametrize("name", ["text", "prompt"])
def test_a_value_too_long_for_a_tokenizer_is_refused_at_its_line(write, configured, name, value):
    fits = {"text": "x" * 2**20, "id": value}
    beside = {"completion": "y"} if name == "prompt" else {}
    path = write("a.jsonl", [fits, {**beside, name: value}])
    with pytest.raises(DataError) as caught:
        read(configured, [path])
    head, line = str(caught.value).splitlines()
    assert head.startswith("1 problem")
    assert line.startswith(f"{path}:2: {name} has 1,048,5")
    assert "at most 1,048,576 (2**20)" in line and "a .txt file, which is cut" in line


def test_a_document_may_be_longer(tmp_path, configured):
    (tmp_path / "a.txt").write_text("x y " * 2**19)
    assert len(read(configured, [str(tmp_path / "a.txt")])) == 1


def test_a_rows_side_hangs_on_its_key_and_its_content_not_on_the_order_of_columns(
    write, configured
):
    rows = [{"prompt": "p", "completion": "c"}, {"completion": "c", "prompt": "p"}, {"text": "c"}]
    paths = [write(f"{n}.jsonl", [row]) for n, row in enumerate(rows)]
    first, second, third = (example.member() for example in read(configured, paths))
    assert first == second
    assert first.content != third.content
    assert (third.key, third.weight) == ("text", 1.0)


def test_a_copy_of_a_row_is_told_and_with_drop_left_out(write, configured, caplog):
    path = write("a.jsonl", [{"text": "x"}, {"text": "y"}, {"text": "x"}, {"text": "bad"}])
    with pytest.raises(DataError, match=r"1 problem in .*\n.*a\.jsonl:4: this row is bad"):
        read(configured, path)
    assert f"1 rows are copies of others, the first: {path}:3 of {path}:1" in caplog.text
    config = configured(demonstrations=path, invalid="drop")
    found = read_examples(config, Form("demonstrations", LEGAL, parse))
    assert [example.row.values["text"] for example in found] == ["x", "y"]
    assert f"left out 2 of 4 rows (data.invalid=drop): 1 like {path}:3 (is a copy" in caplog.text


def test_a_malformed_line_is_dropped_and_counted_too(tmp_path, configured, caplog):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n{"text": \n')
    config = configured(demonstrations=str(path), invalid="drop")
    assert len(read_examples(config, Form("demonstrations", LEGAL, parse))) == 1
    assert "left out 1 of 2 rows" in caplog.text
    path.write_text('{"text": \n')
    with pytest.raises(DataError, match="1 problem"):
        read_examples(config, Form("demonstrations", LEGAL, parse))


def test_columns_are_read_by_their_own_names(write, configured):
    path = write("a.jsonl", [{"question": "p", "reply": "c", "prompt": "other"}])
    mapping = {"prompt": "question", "completion": "reply"}
    config = configured(demonstrations=path, columns=mapping)
    (found,) = read_examples(config, Form("demonstrations", LEGAL, parse))
    assert found.row.values == {"prompt": "p", "completion": "c"}
    own = configured(
        demonstrations=[SourceConfig(path=path, columns={"text": "reply", "prompt": None})]
    )
    (found,) = read_examples(own, Form("demonstrations", LEGAL, parse))
    assert found.asked.key == "text"


def test_a_column_that_no_row_has_is_an_error_unless_rows_do_without_it(write, configured):
    path = write("a.jsonl", [{"question": "p", "reply": "c"}])
    columns = {"prompt": "question", "completion": "replies", "chosen": "good"}
    with pytest.raises(DataError, match=r"data\.columns\.completion=replies, but its columns are"):
        read_examples(
            configured(demonstrations=path, columns=columns), Form("demonstrations", LEGAL, parse)
        )
    texts = configured(demonstrations=write("b.jsonl", [{"text": "x"}]), columns=columns)
    assert len(read_examples(texts, Form("demonstrations", LEGAL, parse))) == 1


MISSED = [
    ({"text": "x", "answer": "y"}, "answer would not be read beside text"),
    ({"prompt": "x", "completion": "y", "system": "z"}, "system would not be read"),
    ({"prompt": "x", "completion": "y", "context": "z"}, "context would not be read"),
]


@pytest.mark.parametrize(("row", "reason"), MISSED)
def test_what_belongs_to_prompt_or_answer_is_never_left_out_in_silence(
    row, reason, write, configured
):
    path = write("a.jsonl", [row])
    with pytest.raises(DataError, match=rf"a\.jsonl:1: {reason}.*data\.columns"):
        read(configured, path)
    config = configured(demonstrations=path, columns={reason.split()[0]: None})
    assert len(read_examples(config, Form("demonstrations", LEGAL, parse))) == 1


def test_other_columns_that_are_not_read_are_told_once(write, configured, caplog):
    read(configured, write("a.jsonl", [{"text": "x", "id": 1}, {"text": "y", "source": "web"}]))
    assert [r.getMessage().rpartition("/")[2] for r in caplog.records] == [
        "a.jsonl: columns that are not read: id, source"
    ]


def test_a_cell_without_a_value_is_said_to_be_empty_and_is_no_missing_column(tmp_path, configured):
    # An empty answer in a CSV was told as columns that fit no format.
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion\nq,a\nq2,\n,b\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(configured, [str(path)])
    lines = str(caught.value).splitlines()
    assert f"{path}:3: completion is empty" in lines
    assert f"{path}:4: prompt is empty" in lines
    assert "fit no format" not in str(caught.value)
