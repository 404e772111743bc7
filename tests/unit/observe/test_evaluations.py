"""Evaluations: every verdict is kept, and none takes the place of another judge's."""

from __future__ import annotations

import json

import pytest

from rlhf.observe.evaluations import find, forget, keep, kept

OWN = {
    "judge": "reward.py:length",
    "prompts": ["data/q.jsonl"],
    "candidate_path": "policy",
    "baseline_path": "sft",
    "win_rate": 0.7,
    "inputs_sha256": "a" * 64,
}


def verdict(sha256, **changes):
    """Return another verdict."""
    return {**OWN, "win_rate": 0.1, "inputs_sha256": sha256 * 64, **changes}


def main_of(run):
    """Return the win rate that is the run's."""
    return json.loads((run / "evaluation.json").read_text())["win_rate"]


def test_a_verdict_is_named_by_judge_and_prompts(tmp_path):
    file = keep(tmp_path, OWN, of_the_run=True)
    assert file.name == "reward.py_length-on-q.jsonl-aaaaaaaa.json"
    assert json.loads(file.read_text()) == OWN
    assert kept(tmp_path) == [OWN]


@pytest.mark.parametrize(
    "change",
    [
        {"judge": "reward.py:other"},
        {"prompts": ["data/other.jsonl"]},
        {"candidate_path": "/models/other"},
        {"baseline_path": "start"},
    ],
)
def test_a_verdict_on_something_else_leaves_the_runs_alone(tmp_path, change):
    keep(tmp_path, OWN, of_the_run=True)
    other = verdict("b", **change)
    file = keep(tmp_path, other, of_the_run=False)
    assert main_of(tmp_path) == 0.7
    assert json.loads(file.read_text()) == other
    assert kept(tmp_path) == [OWN, other]


def test_the_same_judge_asked_again_has_the_last_word_and_the_first_is_kept(tmp_path):
    keep(tmp_path, OWN, of_the_run=True)
    keep(tmp_path, verdict("b"), of_the_run=False)
    assert main_of(tmp_path) == 0.1
    assert OWN in kept(tmp_path)


def test_a_training_command_says_what_the_runs_verdict_is(tmp_path):
    keep(tmp_path, verdict("b", judge="reward.py:other"), of_the_run=False)
    assert main_of(tmp_path) == 0.1  # there was none
    keep(tmp_path, OWN, of_the_run=True)
    assert main_of(tmp_path) == 0.7


def test_a_training_command_asked_again_finds_its_verdict_and_makes_it_the_runs(tmp_path):
    keep(tmp_path, OWN, of_the_run=True)
    keep(tmp_path, verdict("b", judge="reward.py:other"), of_the_run=True)
    assert find(tmp_path, "a" * 64, of_the_run=False) == OWN
    assert main_of(tmp_path) == 0.1
    assert find(tmp_path, "a" * 64, of_the_run=True) == OWN
    assert main_of(tmp_path) == 0.7
    assert find(tmp_path, "c" * 64, of_the_run=True) is None


def test_a_policy_trained_anew_takes_its_verdicts_along(tmp_path):
    keep(tmp_path, OWN, of_the_run=True)
    keep(tmp_path, verdict("b", baseline_path="policy", candidate_path="x"), of_the_run=False)
    other = verdict("c", candidate_path="/models/other")
    keep(tmp_path, other, of_the_run=False)
    forget(tmp_path, "policy")
    assert kept(tmp_path) == [other]


def test_a_damaged_file_counts_as_none(tmp_path):
    file = keep(tmp_path, OWN, of_the_run=False)
    file.write_text("{")
    assert kept(tmp_path) == [OWN]


@pytest.mark.parametrize("of_the_run", [False, True])
def test_a_kill_between_its_two_files_leaves_a_verdict_that_is_found_whole(tmp_path, of_the_run):
    keep(tmp_path, OWN, of_the_run=True)
    (tmp_path / "evaluation.json").unlink()
    assert find(tmp_path, OWN["inputs_sha256"], of_the_run=of_the_run) == OWN
    assert main_of(tmp_path) == OWN["win_rate"]
