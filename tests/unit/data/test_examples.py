"""Rows become examples of the first legal format; faults of all sources are reported at once."""

from __future__ import annotations

import pytest

from rlhf.config.data import SourceConfig
from rlhf.data.examples import Asked, read_examples
from rlhf.errors import ConfigError, DataError

LEGAL = (("prompt", "completion"), ("text",))


def parse(row, columns):
    if row.values[columns[0]] == "bad":
        raise DataError("this row is bad")
    return Asked(prompt=None, answers=(), key="+".join(columns))


def read(configured, sources):
    return read_examples(configured(demonstrations=sources), "demonstrations", LEGAL, parse)


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


def test_a_rows_side_hangs_on_its_key_and_its_content_not_on_the_order_of_columns(
    write, configured
):
    path = write(
        "a.jsonl",
        [{"prompt": "p", "completion": "c"}, {"completion": "c", "prompt": "p"}, {"text": "c"}],
    )
    first, second, third = (example.member() for example in read(configured, path))
    assert first == second
    assert first.content != third.content
    assert (third.key, third.weight) == ("text", 1.0)
