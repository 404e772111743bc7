"""Kinds: each is prepared by its own rules, and read without a tokenizer where there is none."""

from __future__ import annotations

import pytest

from rlhf.config.data import DataConfig
from rlhf.data.kinds import KINDS, check_rows, given, kind_of, prepare_kind
from rlhf.errors import DataError

ROW = {"prompt": "hello", "completion": " film", "chosen": " good", "rejected": " bad"}

CONVERSATION = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]


def test_those_with_a_source_are_given(configured):
    assert given(configured()) == []
    assert given(configured(pretraining="a", preferences="b")) == ["preferences", "pretraining"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_prepared_and_checked(kind, chatml, write, configured):
    columns = {"preferences": ("prompt", "chosen", "rejected"), "prompts": ("prompt",)}
    names = columns.get(kind, ("prompt", "completion"))
    good = write("good.jsonl", [{name: ROW[name] for name in names}])
    config = configured(**{kind: good})
    assert len(prepare_kind(kind, config, chatml).entries) == 1
    check_rows(kind, config)
    bad = configured(**{kind: write("bad.jsonl", [{"film": 1}])})
    for check in (lambda: prepare_kind(kind, bad, chatml), lambda: check_rows(kind, bad)):
        with pytest.raises(DataError, match=r"bad\.jsonl:1: columns film fit no format"):
            check()


@pytest.mark.parametrize("kind", ["preferences", "prompts"])
def test_the_rows_of_a_test_file_are_checked_too(kind, write, configured):
    good = write("good.jsonl", [{"prompt": "a", "chosen": " b", "rejected": " c"}])
    if kind == "prompts":
        good = write("good.jsonl", [{"prompt": "a"}])
    bad = write("bad.jsonl", [{"prompt": ""}])
    with pytest.raises(DataError, match=r"bad\.jsonl:1"):
        check_rows(kind, configured(**{kind: good, f"test_{kind}": bad}))


def test_pretraining_has_one_side(chatml, write, configured):
    path = write("a.jsonl", [{"text": f"film {n}"} for n in range(50)])
    config = configured(pretraining=path, validation_fraction=0.4)
    assert len(prepare_kind("pretraining", config, chatml).sides["train"]) == 50


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"text": "a"}, "demonstrations"),
        ({"prompt": "a", "completion": "b"}, "demonstrations"),
        ({"instruction": "a", "input": "", "output": "b"}, "demonstrations"),
        ({"conversations": CONVERSATION}, "demonstrations"),
        ({"prompt": "a", "answers": ["b", "c"]}, "preferences"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
         "preferences"),
        ({"prompt": "a"}, "prompts"),
        ({"question": "a", "label": 3}, None),
    ],
)  # fmt: skip
def test_the_kind_of_a_file_is_told_by_its_columns(row, kind, write, caplog):
    assert kind_of(str(write("a.jsonl", [row, row])), DataConfig()) == kind
    assert not caplog.text


def test_rows_of_two_kinds_say_nothing_clear(write):
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "c"}]
    assert kind_of(str(write("a.jsonl", rows)), DataConfig()) is None
