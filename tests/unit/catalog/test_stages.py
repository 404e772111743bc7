"""The records of the stages fit the settings, and nothing else names a stage."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

import rlhf
from rlhf.catalog.stages import (
    PPO,
    REWARD_MODEL,
    SFT,
    STAGES,
    TRAINING,
    StageRecord,
    TrainingCommand,
    not_read,
    title_of,
)
from rlhf.config.commands import value_of
from rlhf.config.experiment import Experiment
from rlhf.config.load import keys

NAMES = {stage.name for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_setting_that_a_record_names_is_one(stage: StageRecord) -> None:
    known = list(keys(Experiment))
    conditions = [*stage.also_reads.values(), *([stage.instead] if stage.instead else [])]
    data = [f"data.{kind}" for kind in (stage.reads, *stage.also_reads)]
    for path in (*stage.own, *stage.ignores, *stage.shares, *conditions, *data):
        assert any(key == path or key.startswith(f"{path}.") for key in known), path
    for section in (stage.name, *stage.optimizers):
        assert value_of(Experiment(), section) is not None


def test_a_setting_is_at_most_one_stages_own() -> None:
    own = [path for stage in STAGES for path in stage.own]
    assert len(own) == len({*own})


def test_a_stage_reads_its_own_settings_and_no_other_stages() -> None:
    # What the stages read before there were records, from the release of 2026-10.
    assert "sft" in not_read(PPO)
    assert "data.preferences" in not_read(PPO)
    assert "ppo" not in not_read(PPO)
    assert not [path for path in not_read(PPO) if path.startswith("reward_model.path")]
    assert {"ppo", "generation", "reward_model", "data.prompts"} <= {*not_read(SFT)}
    assert {"sft", "ppo", "value", "policy.optimizer"} <= {*not_read(REWARD_MODEL)}


def test_every_folder_is_one_stages() -> None:
    folders = [folder for stage in STAGES for folder in (stage.folder, *stage.by_products)]
    assert len(folders) == len({*folders})


def test_type_checkers_know_every_training_command() -> None:
    assert get_args(TrainingCommand) == TRAINING


def test_a_name_that_is_no_stage_is_its_own_title() -> None:
    assert title_of("ppo") == "PPO"
    assert title_of("start") == "start"


def test_no_other_module_has_a_stages_name_as_a_literal() -> None:
    root = Path(rlhf.__file__).parent
    found = [
        f"{file.relative_to(root)}:{node.lineno} {node.value!r}"
        for file in sorted(root.rglob("*.py"))
        if "catalog" not in file.parts
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Constant) and node.value in NAMES
    ]
    assert not found, "use the record of rlhf/catalog/stages.py"
