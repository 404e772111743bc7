"""Preflight: every model that cannot serve, told before anything is written."""

from __future__ import annotations

import pytest

from rlhf.cli.preflight import preflight
from rlhf.errors import ConfigError, ModelError
from rlhf.stages.inputs import Inputs
from tests import models


def inputs(start: str | None) -> Inputs:
    return Inputs(
        start=start,
        tokenizer=models.tokenizer(),
        demonstrations=None,
        rankings=None,
        prompts=None,
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
