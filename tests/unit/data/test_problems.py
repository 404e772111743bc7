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


def test_warnings_about_rows_are_collected_and_not_repeated(caplog):
    logger = logging.getLogger("rlhf.data.encode")
    with heard() as lines:
        logger.warning("%d rows", 3)
        logger.warning("3 rows")
        logger.info("nothing")
    logger.warning("after")
    assert lines == ["3 rows"]
    assert caplog.messages == ["after"]
