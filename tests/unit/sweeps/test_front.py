"""The frontier: a dot a trial, a ring for those that were cut, numbers that can be read."""

from __future__ import annotations

import re

import pytest

from rlhf.sweeps.front import front_figure
from rlhf.sweeps.table import read_trials
from tests.unit.sweeps.test_table import ended, swept


def test_the_picture_has_a_dot_a_trial_and_a_ring_for_the_cut_one(tmp_path):
    trials = swept(
        tmp_path,
        ("a=1", 1, 1, "done"),
        ("a=2", 3, 2, "done"),
        ("a=3", 2, 3, "done"),
        ("a=4", 9, 99, "cut"),
    )
    drawn = front_figure(trials)
    assert drawn.count('class="dot a"') == 2
    assert drawn.count('class="dot e"') == 1
    assert drawn.count('class="ring"') == 1
    assert "On the frontier: trial 3 with score 1.00 at KL 1.00; trial 1" in drawn


def test_numbers_of_dots_that_touch_stand_together(tmp_path):
    trials = swept(
        tmp_path, ("a=1", 1, 1, "done"), ("a=2", 1.001, 1.001, "done"), ("a=3", 5, 9, "done")
    )
    assert re.search(r">2, 3</text>", front_figure(trials))


def test_without_a_score_there_is_no_picture(tmp_path):
    (tmp_path / "a=1").mkdir()
    assert front_figure(read_trials(tmp_path, [ended("a=1", "interrupted")])) is None


@pytest.mark.parametrize("kl", [0.0, -7.2e-7, 1e306])
@pytest.mark.parametrize("score", [0.0, -1.0, 1e-320, 1e306, -1e306])
def test_trials_of_any_figures_can_be_drawn(tmp_path, score, kl):
    trials = swept(tmp_path, ("a=1", score, kl, "done"), ("a=2", 1.0, 1.0, "done"))
    drawn = front_figure(trials)
    assert drawn.count("<circle") == 2 and "nan" not in drawn
