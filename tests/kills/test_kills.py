"""A sample of the kills of `make soak`: the same command ends in the same bits."""

from __future__ import annotations

import pytest

from tests.kills.kills import differences, out_of_room, result, run

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


@pytest.mark.parametrize("share", [0.86, 0.98])
def test_a_full_disk_ends_a_run_in_one_line_and_room_lets_it_go_on(quiet, tmp_path, share):
    # In mid-PPO, and when the report is written.
    events, expected = quiet
    full = run(tmp_path, round(share * events), out_of_room)
    said = (tmp_path / "said.txt").read_text()
    assert full.code == 2, said
    (line,) = [line for line in said.splitlines() if line.startswith("rlhf: ")]
    assert "File too large" in line and str(tmp_path.name) not in line
    assert "Traceback" not in said
    (tmp_path / "said.txt").unlink()
    again = run(tmp_path)
    assert again.code == 0, (tmp_path / "said.txt").read_text()
    lost = {name for name, rows in result(tmp_path / "run").items() if rows == []}
    changed = differences(expected, result(tmp_path / "run"))
    assert set(changed) <= lost, full.last
