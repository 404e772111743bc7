"""Trial: how an exit code becomes an end, and when a trial need not run."""

from __future__ import annotations

import json

import pytest

from rlhf.config.experiment import Experiment
from rlhf.config.sweep import SweepConfig
from rlhf.observe import files
from rlhf.sweeps.trial import Trial


def trial(folder, command="ppo", max_kl=2.0, **changes):
    experiment = Experiment(run_dir=str(folder), sweep=SweepConfig(max_kl=max_kl), **changes)
    return Trial(command=command, name="a=1", settings={"a": "1"}, typed=[], experiment=experiment)


def recorded(folder, *kls):
    rows = [{"stage": "ppo", "step": n, "metrics": {"objective/kl": k}} for n, k in enumerate(kls)]
    files.append_rows(folder / files.METRICS, rows)


@pytest.mark.parametrize(
    ("code", "outcome", "detail"),
    [
        (0, "done", ""),
        (130, "interrupted", ""),
        (4, "diverged", "loss is nan"),
        (2, "failed", "loss is nan"),
        (-9, "failed", "loss is nan"),
    ],
)
def test_an_exit_code_shows_how_it_ended(tmp_path, code, outcome, detail):
    end = trial(tmp_path).end(code, "loss is nan")
    assert (end.outcome, end.detail, end.code) == (outcome, detail, code)


def test_a_trial_is_cut_by_what_it_recorded(tmp_path):
    recorded(tmp_path, 0.0, 3.0, 3.0, 3.5)
    assert trial(tmp_path).end(4, "said").detail == "at step 4: KL 3.50"
    assert trial(tmp_path).cut().outcome == "cut"
    assert trial(tmp_path, max_kl=3.2).cut() is None
    assert trial(tmp_path, max_kl=None).cut() is None


def test_two_steps_too_far_are_not_three(tmp_path):
    recorded(tmp_path, 9.0, 9.0, 0.0, 9.0, 9.0)
    assert trial(tmp_path).cut() is None


def test_finished_is_a_result_made_with_the_same_settings(tmp_path):
    config = trial(tmp_path).experiment.model_dump(mode="json")
    (tmp_path / files.MANIFEST).write_text(json.dumps({"config": config}))
    assert not trial(tmp_path).is_finished()
    (tmp_path / "policy").mkdir()
    assert trial(tmp_path).is_finished()
    assert trial(tmp_path, max_kl=9.0).is_finished()
    assert not trial(tmp_path, seed=1).is_finished()
    assert not trial(tmp_path, command="sft").is_finished()
