"""docs/faults.md and SECURITY.md in step with the tests: every row's test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NUM_FAULTS = 68
UNTESTED = {11, 12, 68}
"""Faults that no test makes happen yet; the number may only fall."""
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| [^|]+ \| (-|`[^`|]+`) \|$", re.M)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    text = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    return {int(number): test for number, test in ROW.findall(text)}


def test_every_fault_has_a_row():
    assert list(rows()) == list(range(1, NUM_FAULTS + 1))


def test_every_fault_names_its_test_but_those_that_have_none_yet():
    assert {number for number, test in rows().items() if test == "-"} == UNTESTED


def named() -> list[tuple[str, str]]:
    texts = [
        (ROOT / name).read_text(encoding="utf-8") for name in ("docs/faults.md", "SECURITY.md")
    ]
    return sorted({found for text in texts for found in TEST.findall(text)})


@pytest.mark.parametrize(("file", "name"), named())
def test_a_test_that_is_named_is_there(file, name):
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_promise_names_a_test():
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    promises = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(promises) >= 9
    assert all(TEST.search(line) for line in promises)
