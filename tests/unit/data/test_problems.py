from __future__ import annotations

import logging

import pytest

from rlhf.data.problems import Problems, heard
from rlhf.errors import DataError


def test_no_problem_is_no_error():
    problems = Problems("a.jsonl")
    problems.check()
    assert len(problems) == 0


def test_problems_are_counted_and_reported():
    problems = Problems("a.jsonl")
    problems.add("a.jsonl:3", "empty")
    with pytest.raises(DataError, match=r"^1 problem in a\.jsonl:\na\.jsonl:3: empty$"):
        problems.check()
    for line in range(30):
        problems.add(f"a.jsonl:{line}", "empty")
    with pytest.raises(DataError, match=r"^31 problems in a\.jsonl, the first 20 are:(\n.*){20}$"):
        problems.check()


def test_what_is_dropped_is_counted_by_reason_with_the_first_row_of_each(caplog):
    problems = Problems("a.jsonl", drop=True)
    for line in (9, 12, 14):
        problems.add(f"a.jsonl:{line}", "prompt is empty")
    problems.add("a.jsonl:2", "columns a fit no format", 5)  # is found once all rows are read
    for line in (3, 4):
        problems.add(f"a.jsonl:{line}", "is a copy of another row")
    problems.add("a.jsonl:6", "not JSON: this")
    problems.add("a.jsonl:7", "not JSON: that")
    problems.check(left=1000)
    assert caplog.messages == [
        "a.jsonl: left out 12 of 1,012 rows (data.invalid=drop): 5 like a.jsonl:2 (columns a fit "
        "no format), 3 like a.jsonl:9 (prompt is empty), 2 like a.jsonl:3 (is a copy of another "
        "row), 2 for 2 other reasons"
    ]


def test_warnings_about_rows_are_collected_and_not_repeated(caplog):
    logger = logging.getLogger("rlhf.data.encode")
    with heard() as lines:
        logger.warning("%d rows", 3)
        logger.warning("3 rows")
        logger.info("nothing")
    logger.warning("after")
    assert lines == ["3 rows"]
    assert caplog.messages == ["after"]
