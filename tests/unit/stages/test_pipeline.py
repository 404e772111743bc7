"""The stages in order: each starts from the one before, and none runs twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlhf.checkpoint.artifact import verify
from rlhf.checkpoint.run import RunFolder
from rlhf.config.experiment import Experiment
from rlhf.stages.inputs import load_inputs
from rlhf.stages.pipeline import run_ppo, run_reward_model, run_sft, run_start
from rlhf.stages.rehearsal import Rehearsal
from rlhf.stages.run import Run
from tests import models
from tests.specs import reward_mix, runtime, spec
from tests.unit.stages.conftest import recorded

SECTIONS = {
    "policy": {
        "new": {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 300},
        "optimizer": models.optimizer(),
    },
    "sft": {"batch_size": 8, "optimizer": models.optimizer()},
    "reward_model": {"batch_size": 8, "optimizer": models.optimizer()},
    "ppo": {"num_steps": 2, "rollout_batch_size": 4, "minibatch_size": 4, "num_epochs": 1},
    "generation": {"max_new_tokens": 6},
}


@pytest.fixture
def run_of(tmp_path, logged):
    rows = {
        "demonstrations": [{"prompt": f"N {i}", "completion": " good"} for i in range(24)],
        "preferences": [{"prompt": f"N {i}", "chosen": " a", "rejected": " b"} for i in range(24)],
        "prompts": [{"prompt": f"N {i}"} for i in range(24)],
    }
    data: dict[str, object] = {"test_fraction": 0.2}
    for name, entries in rows.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in entries), encoding="utf-8")
        data[name] = str(path)
    told: list[str] = []

    def make(name: str = "run", **sections: dict[str, object]) -> tuple[Run, list[str]]:
        experiment: Experiment = models.experiment(**{**SECTIONS, "data": data, **sections})
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        inputs = load_inputs(experiment, ["sft", "reward_model", "ppo"], None)
        made, log = runtime(experiment), logged(name)
        run = Run(
            experiment=experiment,
            opened=RunFolder(folder, "run", lock=-1),
            inputs=inputs,
            runtime=made,
            log=log,
            timings=list,
            rehearsal=Rehearsal(inputs, made, log.note),
            finished=lambda stage, figures: told.append(stage),
        )
        return run, told

    return make


def test_a_new_model_is_made_once(run_of):
    run, _ = run_of()
    start = run_start(run)
    weights = load_file(start / "model.safetensors")
    (start / "mark").touch()
    assert run_start(run) == start
    assert (start / "mark").exists()
    other = load_file(run_start(run_of("other")[0]) / "model.safetensors")
    assert all(torch.equal(weights[name], other[name]) for name in weights)


def test_a_given_start_is_used_as_it_is(run_of, folder):
    run, _ = run_of()
    given = replace(run, inputs=replace(run.inputs, start=folder()))
    assert run_start(given) == Path(folder())
    assert not (run.folder / "start").exists()


def test_three_stages_leave_four_whole_models_and_do_not_run_again(run_of, tmp_path):
    run, told = run_of()
    with run.log:
        start = run_start(run)
        sft = run_sft(run, start)
        reward_model = run_reward_model(run, sft)
        policy = run_ppo(run, sft, reward_mix(reward_model))
    assert told == ["sft", "reward_model", "ppo"]
    for name in ("sft", "reward_model", "value", "policy"):
        assert verify(run.folder / name).kind == name
    assert verify(policy).base == str(sft)
    assert not list((run.folder / "checkpoints").glob("*"))
    figures = recorded(run.folder)
    assert {row["stage"] for row in figures} == set(told)
    again, told_again = run_of()
    with again.log:
        sft, mix = run_sft(again, start), reward_mix(run_reward_model(again, sft))
        assert run_ppo(again, sft, mix) == policy
    assert told_again == ["sft", "reward_model", "ppo"]
    assert recorded(run.folder) == figures


def test_the_reward_model_is_normalised_over_its_training_answers(run_of):
    run, _ = run_of()
    with run.log:
        reward_model = run_reward_model(run, run_start(run))
    from rlhf.stages.reward_model import score_statistics

    trained = run.runtime.assign(spec("reward_trainer", reward_model, finished=True))
    found = score_statistics(trained, run.inputs.rankings.train)
    assert found["mean"] == pytest.approx(0, abs=1e-3)
    assert found["std"] == pytest.approx(1, rel=1e-2)


def test_without_a_reward_model_the_value_starts_at_zero(run_of, tmp_path):
    # correctness 52
    reward = tmp_path / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    run, _ = run_of(reward={"function": f"{reward}:one"})
    with run.log:
        run_ppo(run, run_start(run), reward_mix(function=f"{reward}:one"))
    first = recorded(run.folder)[0]
    assert first["value/mean"] == 0
    assert first["objective/scores"] == 1


def test_a_longer_ppo_is_not_done_when_a_shorter_one_is(run_of, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    judged = {"function": f"{reward}:one"}
    run, _ = run_of(reward=judged)
    with run.log:
        run_ppo(run, run_start(run), reward_mix(function=f"{reward}:one"))
    longer, told = run_of(reward=judged, ppo={**SECTIONS["ppo"], "num_steps": 3})
    with longer.log:
        run_ppo(longer, run_start(longer), reward_mix(function=f"{reward}:one"))
    assert told == ["ppo", "ppo"]
    assert [row["step"] for row in recorded(longer.folder)] == [0, 1, 2]
