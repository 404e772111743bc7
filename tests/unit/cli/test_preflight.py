"""Preflight: every model that cannot serve, told before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlhf.checkpoint.artifact import Artifact, write_artifact
from rlhf.cli.preflight import company_of, preflight
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.errors import CheckpointError, ConfigError, ModelError
from rlhf.stages.inputs import Inputs
from tests import models


def inputs(start: str | None) -> Inputs:
    return Inputs(
        start=start,
        tokenizer=models.tokenizer(),
        demonstrations=None,
        rankings=None,
        prompts=None,
        pretraining=None,
        sources={},
    )


def test_whole_models_pass(folder):
    experiment = models.experiment(
        reward_model={"path": folder(kind="classifier")}, reference={"path": folder()}
    )
    preflight(experiment, ["ppo"], inputs(folder()))
    preflight(models.experiment(), ["sft"], inputs(None))


def test_all_that_cannot_serve_are_told_at_once(folder, tmp_path):
    experiment = models.experiment(
        reward_model={"path": folder()}, reference={"path": str(tmp_path / "nowhere")}
    )
    with pytest.raises(ModelError) as caught:
        preflight(experiment, ["ppo"], inputs(folder()))
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert "nowhere" in lines[0]
    assert "no trained score head" in lines[1]


def test_a_model_no_stage_reads_is_not_looked_at(tmp_path):
    experiment = models.experiment(reference={"path": str(tmp_path / "nowhere")})
    preflight(experiment, ["sft"], inputs(None))


def test_a_cluster_too_small_is_refused():
    experiment = models.experiment("deepspeed", cluster={"policy": {"ranks": 999}})
    with pytest.raises(ConfigError, match=r"cluster\.policy\.ranks=999"):
        preflight(experiment, ["sft"], inputs(None))


def signed(folder: Path, kind: str) -> Path:
    """Sign a model folder as a finished stage does."""
    own = fingerprint(load_tokenizer(str(folder)))
    artifact = Artifact(
        kind=kind,
        head_trained=True,
        tokenizer_sha256=own,
        chat_template_sha256=None,
        base="somewhere",
        inputs_sha256="0",
    )
    write_artifact(folder, artifact)
    return folder


def test_a_finished_folder_of_the_right_kind_passes(folder, tmp_path):
    made = signed(shutil.copytree(folder(), tmp_path / "sft"), "sft")
    preflight(models.experiment(), ["ppo"], inputs(str(made)))


def test_a_folder_of_another_kind_is_refused(folder, tmp_path):
    made = signed(shutil.copytree(folder(), tmp_path / "value"), "value")
    with pytest.raises(CheckpointError, match="is a value; what is wanted here"):
        preflight(models.experiment(), ["ppo"], inputs(str(made)))


def test_damaged_weights_are_named(folder, tmp_path):
    made = signed(shutil.copytree(folder(), tmp_path / "sft"), "sft")
    weights = bytearray((made / "model.safetensors").read_bytes())
    weights[-3] ^= 1
    (made / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        preflight(models.experiment(), ["ppo"], inputs(str(made)))


def test_another_tokenizer_than_in_training_is_refused(folder, tmp_path):
    made = signed(shutil.copytree(folder(), tmp_path / "sft"), "sft")
    tokenizer = load_tokenizer(str(made))
    tokenizer.chat_template = "{{ 'another' }}"
    tokenizer.save_pretrained(made)
    with pytest.raises(CheckpointError, match="tokenizer or chat template is not the one"):
        preflight(models.experiment(), ["ppo"], inputs(str(made)))


def test_an_unknown_estimator_is_told_with_the_nearest(folder):
    experiment = models.experiment(ppo={"advantage_estimator": "grop"})
    with pytest.raises(ConfigError, match="advantage_estimator=grop: should be one of .*: grpo"):
        preflight(experiment, ["ppo"], inputs(folder()))


def test_an_estimator_that_compares_needs_responses_to_compare(folder):
    experiment = models.experiment(ppo={"advantage_estimator": "rloo"})
    with pytest.raises(ConfigError, match=r"samples_per_prompt=1; legal: 2 or more"):
        preflight(experiment, ["ppo"], inputs(folder()))


def test_processes_are_started_for_the_roles_that_are_read():
    with_value = models.experiment()
    without = models.experiment(ppo={"advantage_estimator": "reinforce_pp"})
    assert company_of(["ppo"], with_value) == ["policy", "reference", "reward", "value"]
    assert company_of(["ppo"], without) == ["policy", "reference", "reward"]


def test_the_policy_does_not_wait_for_a_value_role_that_is_not_there(folder):
    asked = {"advantage_estimator": "reinforce_pp", "value_warmup_steps": 2}
    with pytest.raises(ConfigError, match=r"value_warmup_steps=2 .* has none; legal: 0"):
        preflight(models.experiment(ppo=asked), ["ppo"], inputs(folder()))


def test_raw_settings_that_deepspeed_does_not_know_are_refused(folder):
    engine = {"zero_stage": 2, "deepspeed": {"zero_optimization": {"overlap_com": True}}}
    experiment = models.experiment("deepspeed", engine={"backend": "deepspeed", **engine})
    with pytest.raises(ConfigError, match=r"zero_optimization\.overlap_com=True.*no such key"):
        preflight(experiment, ["sft"], inputs(folder()))
