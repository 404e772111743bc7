"""Fifteen families of every kind through every stage; `make families` runs all of them."""

from __future__ import annotations

import pytest

from tests.families import cells, page, tiny

RIGHT = (
    "llama",
    "cohere2",  # no classifier in transformers, layers of two kinds
    "falcon",
    "gemma3",  # a folder that reads images, too
    "gpt_neo",
    "gpt_oss",
    "jamba",
    "mamba2",
    "mpt",
    "opt",
    "qwen3_moe",
    "rwkv",
)
REFUSED = {
    "bert": "is an encoder",
    "bart": "is an encoder-decoder",
    "xlnet": "reads a text from both sides",
}


@pytest.mark.parametrize("family", RIGHT)
def test_a_family_is_right_in_every_stage(family):
    row = cells.row(family)
    assert "all" not in row, row
    assert not page.is_bad(row), row


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_is_refused_in_one_line(family):
    row = cells.row(family)
    assert list(row) == ["all"]
    assert REFUSED[family] in row["all"]
    assert "give a decoder-only language model" in row["all"]


def test_every_causal_family_of_transformers_is_on_the_page(pytestconfig):
    text = (pytestconfig.rootpath / "docs" / "models.md").read_text(encoding="utf-8")
    assert not [family for family in tiny.FAMILIES if f"| {family} |" not in text]


def test_a_wrong_cell_is_seen():
    row = dict.fromkeys(cells.CELLS, "ok")
    assert not page.is_bad(row)
    assert page.is_bad({**row, "LoRA": "wrong: ratio: off by 1"})
    assert page.is_bad({**row, "LoRA": "stops: TypeError a"})
    assert "LoRA" in page.written({"a": row, "b": {"all": "refused: b"}})
