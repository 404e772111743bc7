"""A sample of the hostile functions and command lines; `make hostile` tries them all."""

from __future__ import annotations

import pytest

from tests.hostile.functions import cases
from tests.hostile.home import make_home, try_function, try_line
from tests.hostile.overrides import lines

EVERY_FUNCTION, EVERY_LINE = 23, 29
"""One in so many is in the sample: primes, so that it has some of every kind."""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return make_home(tmp_path_factory.mktemp("hostile"))


@pytest.mark.parametrize("case", list(cases())[::EVERY_FUNCTION], ids=lambda case: case.name)
def test_a_function_ends_in_scores_or_one_line(home, case):
    assert try_function(home, case) is None


@pytest.mark.parametrize(
    "line", list(lines())[::EVERY_LINE], ids=lambda line: ascii(line.typed[0])[:40]
)
def test_a_command_line_ends_in_a_run_or_one_line(home, line):
    assert try_line(home, line) is None


def test_there_are_many():
    assert len(list(cases())) >= 150
    assert len(list(lines())) >= 120
