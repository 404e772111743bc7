"""The stages in order: each starts from the one before, and none runs twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT, STAGES
from rlhf.checkpoint.artifact import put_in_place, verify
from rlhf.config.experiment import Experiment
from rlhf.errors import CheckpointError
from rlhf.stages import run as stages_run
from rlhf.stages.inputs import load_inputs
from rlhf.stages.pipeline import run_stage, run_start
from rlhf.stages.rehearsal import Rehearsal
from rlhf.stages.run import Made, Run
from tests import models
from tests.specs import reward_mix, runtime, spec
from tests.unit.stages.conftest import opened, recorded

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
        inputs = load_inputs(experiment, [SFT, REWARD_MODEL, PPO], None)
        made, log = runtime(experiment), logged(name)
        run = Run(
            experiment=experiment,
            opened=opened(folder),
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
        own = reward_mix(run.folder / "reward_model")
        start = Made(policy=run_start(run), mix=own)
        tuned = run_stage(SFT, run, start)
        judged = run_stage(REWARD_MODEL, run, tuned)
        policy = run_stage(PPO, run, judged).policy
    assert told == ["sft", "reward_model", "ppo"]
    for name in ("sft", "reward_model", "value", "policy"):
        assert verify(run.folder / name).kind == name
    assert verify(policy).base == str(tuned.policy)
    assert not list((run.folder / "checkpoints").glob("*"))
    figures = recorded(run.folder)
    assert {row["stage"] for row in figures} == set(told)
    again, told_again = run_of()
    with again.log:
        made = start
        for stage in STAGES:
            made = run_stage(stage, again, made)
        assert made == Made(policy=policy, reward_model=run.folder / "reward_model", mix=own)
    assert told_again == ["sft", "reward_model", "ppo"]
    assert recorded(run.folder) == figures


def test_the_reward_model_is_normalised_over_its_training_answers(run_of):
    run, _ = run_of()
    with run.log:
        reward_model = run_stage(REWARD_MODEL, run, Made(policy=run_start(run))).reward_model
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
        run_stage(PPO, run, Made(policy=run_start(run), mix=reward_mix(function=f"{reward}:one")))
    first = recorded(run.folder)[0]
    assert first["value/mean"] == 0
    assert first["objective/scores"] == 1


def test_a_longer_ppo_is_not_done_when_a_shorter_one_is(run_of, tmp_path):
    reward = tmp_path / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    judged, mix = {"function": f"{reward}:one"}, reward_mix(function=f"{reward}:one")
    run, _ = run_of(reward=judged)
    with run.log:
        run_stage(PPO, run, Made(policy=run_start(run), mix=mix))
    longer, told = run_of(reward=judged, ppo={**SECTIONS["ppo"], "num_steps": 3})
    with longer.log:
        run_stage(PPO, longer, Made(policy=run_start(longer), mix=mix))
    assert told == ["ppo", "ppo"]
    assert [row["step"] for row in recorded(longer.folder)] == [0, 1, 2]


def test_a_kill_between_normalizing_and_publishing_changes_nothing(run_of):
    # It normalized the reward model twice: 12 of 97 figures of the resumed run were others.
    def judged(name: str) -> Path:
        run, _ = run_of(name)
        with run.log:
            made = run_stage(SFT, run, Made(policy=run_start(run)))
            return run_stage(REWARD_MODEL, run, made).reward_model

    quiet = judged("quiet")
    pid = os.fork()
    if pid == 0:

        def killed(partial: Path, target: Path) -> None:
            if target.name == REWARD_MODEL.folder:
                os.kill(os.getpid(), signal.SIGKILL)
            put_in_place(partial, target)

        stages_run.put_in_place = killed
        judged("killed")
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not (quiet.parent.parent / "killed/reward_model").exists()
    assert (quiet.parent.parent / "killed/.reward_model.partial/config.json").exists()
    resumed = judged("killed")
    for name in ("model.safetensors", "config.json", "../reward_model.json"):
        assert (resumed / name).read_bytes() == (quiet / name).read_bytes(), name


def test_damaged_first_weights_are_named_and_nothing_is_replaced(run_of):
    run, _ = run_of()
    with run.log:
        tuned = run_stage(SFT, run, Made(policy=run_start(run)))
    weights, before = run.folder / "start/model.safetensors", tuned.policy.stat().st_mtime_ns
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    again, _ = run_of()
    with again.log, pytest.raises(CheckpointError, match=r"start/model\.safetensors is damaged"):
        run_start(again)
    assert tuned.policy.stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_the_reward_models_figures_come_back_from_its_record(run_of, damage):
    run, _ = run_of()
    with run.log:
        made = run_stage(SFT, run, Made(policy=run_start(run)))
        run_stage(REWARD_MODEL, run, made)
    file = run.folder / "reward_model.json"
    content = file.read_text()
    file.unlink() if damage == "gone" else file.write_text(content[:20])
    again, _ = run_of()
    with again.log:
        run_stage(REWARD_MODEL, again, made)
    assert file.read_text() == content


def test_a_value_model_that_is_gone_is_named_when_ppo_is_done(run_of):
    run, _ = run_of()
    with run.log:
        made = Made(policy=run_start(run))
        for stage in STAGES:
            before, made = made, run_stage(stage, run, made)
    (run.folder / "value/config.json").unlink()
    again, _ = run_of()
    with again.log, pytest.raises(CheckpointError, match=r"value/config.json is missing"):
        run_stage(PPO, again, before)
    shutil.rmtree(run.folder / "value")
    with again.log, pytest.raises(CheckpointError, match=r"value/rlhf_artifact.json is missing"):
        run_stage(PPO, again, before)
