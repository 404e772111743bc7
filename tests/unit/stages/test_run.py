"""What the stages share: the prompts of any step, the KL controller, when a result is valid."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rlhf.algo.kl import AdaptiveKL, FixedKL
from rlhf.catalog.stages import PPO, SFT
from rlhf.checkpoint.artifact import ARTIFACT_FILE
from rlhf.config.stages import PPOConfig
from rlhf.data.split import Splits
from rlhf.errors import CheckpointError
from rlhf.flow.metrics import Metrics
from rlhf.stages.inputs import Inputs
from rlhf.stages.rehearsal import Rehearsal
from rlhf.stages.run import Origin, Run, build_kl, prompt_source
from tests import models
from tests.specs import runtime, spec
from tests.unit.stages.conftest import opened

ORIGIN = Origin(base="base", inputs_sha256="0" * 64)


def test_every_response_of_a_run_has_an_index_of_its_own():
    # correctness 11: what seeds a draw, instead of the rank.
    config = PPOConfig(rollout_batch_size=4, samples_per_prompt=3, minibatch_size=4)
    source = prompt_source(models.prompts(7), config, seed=0)
    drawn = torch.cat([source(step).sample_B for step in range(5)])
    assert drawn.tolist() == list(range(60))


def test_each_prompt_stands_as_often_as_it_is_sampled():
    config = PPOConfig(rollout_batch_size=4, samples_per_prompt=3, minibatch_size=4)
    batch = prompt_source(models.prompts(7), config, seed=0)(0)
    assert len(batch) == 12
    for start in range(0, 12, 3):
        assert len(set(batch.prompts[start : start + 3])) == 1
    assert len(set(batch.prompts)) == 4


def test_every_prompt_is_used_once_an_epoch_and_a_step_repeats():
    config = PPOConfig(rollout_batch_size=7, minibatch_size=7)
    source = prompt_source(models.prompts(7), config, seed=0)
    assert sorted(source(0).prompts) == sorted(models.prompts(7).prompts)
    assert source(1).prompts != source(0).prompts
    assert source(1).prompts == prompt_source(models.prompts(7), config, seed=0)(1).prompts
    assert source(0).prompts != prompt_source(models.prompts(7), config, seed=1)(0).prompts


def test_a_target_makes_the_coefficient_adaptive():
    assert isinstance(build_kl(PPOConfig(kl_coef=0.3)), FixedKL)
    adaptive = build_kl(PPOConfig(kl_coef=0.3, kl_target=6.0))
    assert isinstance(adaptive, AdaptiveKL)
    assert adaptive.coef == 0.3


@pytest.fixture
def run_of(tmp_path, logged):
    def make(sources: dict[str, str], **sections: dict[str, object]) -> Run:
        experiment = models.experiment(**sections)
        nothing = models.prompts(1).select([])
        inputs = Inputs(
            start=None,
            tokenizer=models.tokenizer(),
            demonstrations=None,
            rankings=None,
            prompts=Splits(models.prompts(), nothing, nothing, dropped=0),
            pretraining=None,
            sources={"prompts": sources},
        )
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        made, log = runtime(experiment), logged("log")
        return Run(
            experiment=experiment,
            opened=opened(folder),
            inputs=inputs,
            runtime=made,
            log=log,
            timings=list,
            rehearsal=Rehearsal(inputs, made, log.note),
            finished=lambda stage, figures: None,
        )

    return make


def test_a_fingerprint_follows_data_settings_and_the_model_before(run_of, folder):
    one = run_of({"q.jsonl": "aa"})
    base = one.fingerprint(PPO, Path("start"))
    assert run_of({"q.jsonl": "aa"}).fingerprint(PPO, Path("start")) == base
    assert run_of({"q.jsonl": "bb"}).fingerprint(PPO, Path("start")) != base
    assert one.fingerprint(PPO, Path("other")) != base
    changed = run_of({"q.jsonl": "aa"}, ppo={"kl_coef": 0.5})
    assert changed.fingerprint(PPO, Path("start")) != base
    elsewhere = run_of({"q.jsonl": "aa"}, checkpoint={"every": 3})
    assert elsewhere.fingerprint(PPO, Path("start")) == base


class Slow:
    """A stage of three steps of 0.3 s, broken off before the last where it starts anew."""

    name, total_steps = "ppo", 3

    def steps(self, first_step):
        for step in range(first_step, 3):
            if step == 2 and not first_step:
                raise KeyboardInterrupt
            time.sleep(0.3)
            yield Metrics.of({"num_tokens": 1.0})

    def checkpointables(self):
        return {"policy": self}

    def save_state(self, folder):
        folder.mkdir()
        (folder / "state").write_text("all of it")

    def load_state(self, folder):
        pass

    def state(self):
        return {}

    def load(self, state):
        pass


def test_the_seconds_of_a_stage_are_those_before_a_resume_too(run_of):
    told = []
    run = replace(
        run_of({}, checkpoint={"every": 1}),
        finished=lambda stage, figures: told.append((stage, figures)),
    )
    with run.log:
        with pytest.raises(KeyboardInterrupt):
            run.perform(Slow(), "0" * 64)
        run.perform(Slow(), "0" * 64)
    ((stage, figures),) = told
    assert (stage, figures["steps"]) == ("ppo", 3)
    assert figures["seconds"] >= 0.9


def test_a_published_model_is_done_until_something_it_depends_on_changes(run_of, folder):
    run = run_of({})
    run.runtime.assign(spec("sft_policy", folder())).save(run.partial("sft"))
    target = run.publish(run.partial("sft"), "sft", ORIGIN)
    assert target == run.folder / "sft"
    assert not run.partial("sft").exists()
    assert run.is_done(SFT, "0" * 64)
    assert not run.is_done(SFT, "1" * 64)
    assert not run.is_done(PPO, "0" * 64)
    before = run.fingerprint(PPO, target)
    run.runtime.assign(spec("sft_policy", folder(family="qwen2"))).save(run.partial("sft"))
    run.publish(run.partial("sft"), "sft", ORIGIN)
    assert run.fingerprint(PPO, target) != before


@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json", ARTIFACT_FILE],
)
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_a_damaged_model_is_named_and_never_taken_for_an_unfinished_one(
    run_of, folder, name, damage
):
    # A changed digit of config.json, where a reward's mean stands, trained PPO anew on it.
    run = run_of({})
    run.runtime.assign(spec("sft_policy", folder())).save(run.partial("sft"))
    target = run.publish(run.partial("sft"), "sft", ORIGIN)
    content = bytearray((target / name).read_bytes())
    content[len(content) // 2] ^= 1
    (target / name).unlink() if damage == "gone" else (target / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"sft/{name}.*(is missing|damaged)"):
        run.is_done(SFT, "0" * 64)


def test_a_folder_without_a_record_is_damaged(run_of, folder):
    run = run_of({})
    run.runtime.assign(spec("sft_policy", folder())).save(run.folder / "sft")
    with pytest.raises(CheckpointError, match="sft/rlhf_artifact.json is missing"):
        run.is_done(SFT, "0" * 64)
