"""Sweep: figures of the last quarter, order, frontier, and the recorded ends of its trials."""

from __future__ import annotations

import json

import pytest

from rlhf.observe import files
from rlhf.report.figures import RunFigures, figures_of, objective
from rlhf.report.read import read_run
from rlhf.sweeps.table import (
    TrialEnd,
    headline,
    outcome_text,
    pareto,
    read_ends,
    read_trials,
    table,
    write_ends,
)


def recorded(folder, score, kl, steps=8):
    """Write a run of which the last quarter has this score and this KL, what was before is 0."""
    folder.mkdir(parents=True)
    late = {step: step >= steps - steps // 4 for step in range(steps)}
    rows = [
        {
            "stage": "ppo",
            "step": step,
            "time": 0.0,
            "metrics": {
                "objective/scores": score * late[step],
                "objective/kl": kl * late[step],
                "time/step_s": 2.0,
            },
        }
        for step in range(steps)
    ]
    files.append_rows(folder / files.METRICS, rows)


def ended(name, outcome="done", detail=""):
    key, _, value = name.partition("=")
    return TrialEnd(name=name, settings={key: value}, outcome=outcome, detail=detail)


def swept(folder, *trials):
    """Return the trials of (name, score, KL, outcome)."""
    for name, score, kl, _ in trials:
        recorded(folder / name, score, kl)
    return read_trials(folder, [ended(name, outcome) for name, _, _, outcome in trials])


def test_a_trial_is_ranked_by_the_last_quarter_of_its_steps(tmp_path):
    recorded(tmp_path / "a", 4.0, 2.0)
    figures = figures_of(read_run(tmp_path / "a"))
    assert (figures.score, figures.kl) == (4.0, 2.0)
    assert (figures.seconds, figures.steps, figures.win_rate) == (16.0, 8, None)


def test_the_best_comes_first_and_a_cut_one_last_whatever_it_scored(tmp_path):
    trials = swept(tmp_path, ("a=1", 1, 1, "done"), ("a=2", 3, 2, "done"), ("a=3", 9, 99, "cut"))
    assert [trial.end.name for trial in trials] == ["a=2", "a=1", "a=3"]


def test_the_frontier_leaves_out_who_is_beaten_and_who_was_cut(tmp_path):
    trials = swept(
        tmp_path,
        ("a=1", 1, 1, "done"),
        ("a=2", 3, 2, "done"),
        ("a=3", 2, 3, "done"),
        ("a=4", 4, 4, "done"),
        ("a=5", 9, 0.5, "cut"),
    )
    assert [trial.end.name for trial in pareto(trials)] == ["a=1", "a=2", "a=4"]


def test_the_table_has_a_column_a_setting_and_a_figure_that_is_there(tmp_path):
    trials = swept(tmp_path, ("a=1", 1, 1, "done"), ("b=2", 3, 2, "done"))
    heads, rows = table(trials)
    assert heads == ["#", "b", "a", "score", "KL", "time", "outcome"]
    assert rows[0] == ["1", "2", "", "3.00", "2.00", "16 s", "done"]


def test_a_search_maximizes_the_judge_then_the_score_then_what_there_is():
    assert objective(RunFigures(win_rate=0.6, score=3.0)) == 0.6
    assert objective(RunFigures(score=3.0, accuracy=0.7, loss=1.0)) == 3.0
    assert objective(RunFigures(accuracy=0.7, loss=1.0)) == 0.7
    assert objective(RunFigures(loss=1.0)) == -1.0
    assert objective(RunFigures()) is None


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended("a=1"), "done"),
        (ended("a=1", "cut", "at step 9: KL 12.0"), "cut at step 9: KL 12.0"),
        (ended("a=1", "diverged", "loss is nan\nmore"), "diverged: loss is nan"),
    ],
)
def test_an_end_is_reported_on_one_line(end, words):
    assert outcome_text(end) == words


def test_a_score_of_zero_is_a_score():
    assert "score 0" in headline(ended("a=1"), RunFigures(score=0.0))


def test_ends_are_kept_and_forgotten_with_their_folder(tmp_path):
    trials = swept(tmp_path, ("a=1", 1, 1, "done"), ("a=2", 3, 2, "diverged"))
    write_ends(tmp_path, "ppo", trials)
    assert read_ends(tmp_path) == {trial.end.name: trial.end for trial in trials}
    kept = json.loads((tmp_path / "sweep.json").read_text())
    assert kept["command"] == "ppo"
    assert kept["trials"][0] | {"score": 1.0, "outcome": "done"} == kept["trials"][0]
    (tmp_path / "a=2").rename(tmp_path / "gone")
    assert list(read_ends(tmp_path)) == ["a=1"]


def test_a_damaged_memory_is_no_memory(tmp_path):
    (tmp_path / "sweep.json").write_text("{")
    assert read_ends(tmp_path) == {}
