"""A sample of the kills of `make soak`: the same command ends in the same bits."""

from __future__ import annotations

import pytest

from tests.kills.kills import differences, result, run

SHARES = (0.06, 0.2, 0.33, 0.45, 0.58, 0.72, 0.84, 0.93, 0.985)
"""Where in a run it is killed: the first weights, the stages, their ends, evaluation and report."""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A run that nobody kills."""
    home = tmp_path_factory.mktemp("quiet")
    ended = run(home)
    assert ended.code == 0, (home / "said.txt").read_text()
    return ended.events, result(home / "run")


@pytest.mark.parametrize("share", SHARES)
def test_a_run_killed_at_a_file_event_ends_as_the_one_that_was_not(quiet, tmp_path, share):
    events, expected = quiet
    killed = run(tmp_path, round(share * events))
    assert killed.code == -9, killed
    again = run(tmp_path)
    assert again.code == 0, (tmp_path / "said.txt").read_text()
    assert differences(expected, result(tmp_path / "run")) == [], killed.last
