"""Shapes: which roles there are, which learn, and where each one's config is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.errors import ConfigError, ModelError
from rlhf.planning.shapes import role_shapes
from tests import models


def test_four_roles_of_one_shape(planned):
    found = {shape.role: shape for shape in role_shapes(planned())}
    assert {role: shape.num_trainable > 0 for role, shape in found.items()} == {
        "policy": True,
        "reference": False,
        "reward": False,
        "value": True,
    }
    assert found["policy"].num_weights == 6_738_415_616
    assert found["value"].num_weights == 6_738_415_616 - 32000 * 4096 + 4096


def test_adapters_leave_out_the_reference(planned):
    found = {s.role: s for s in role_shapes(planned(peft={"method": "lora", "rank": 8}))}
    assert set(found) == {"policy", "reward", "value"}
    policy = found["policy"]
    assert policy.num_weights - policy.model_shape.num_weights == policy.num_trainable
    assert policy.num_trainable == 8 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))


def test_a_reward_model_in_training_is_a_stage_of_its_own(planned):
    trained = planned(reward_model={}, data={"preferences": "x.jsonl"})
    trained = trained.model_copy(
        update={"reward_model": trained.reward_model.model_copy(update={"path": None})}
    )
    acts = [(s.role, s.stage.name, s.num_trainable > 0) for s in role_shapes(trained)]
    assert ("reward", "ppo", False) in acts
    assert ("reward", "reward_model", True) in acts


def test_a_function_needs_no_model(folder):
    asked = models.experiment(policy={"path": folder()}, reward={"function": "x.py:f"})
    assert "reward" not in {shape.role for shape in role_shapes(asked)}


def test_no_model_is_reported():
    with pytest.raises(ConfigError, match="policy.path is not set; give a folder with config.json"):
        role_shapes(models.experiment())


def test_a_common_model_that_is_not_here_is_sized_by_its_published_config():
    asked = models.experiment(
        policy={"path": "Qwen/Qwen2.5-7B-Instruct"}, reward={"function": "x.py:f"}
    )
    policy = next(shape for shape in role_shapes(asked) if shape.role == "policy")
    assert policy.num_weights == 7_615_616_512
    assert policy.source == "Qwen/Qwen2.5-7B-Instruct, by its published config"
    with pytest.raises(ModelError, match="no config to size a model by"):
        role_shapes(models.experiment(policy={"path": "nobody/nothing"}))


def test_each_model_of_the_reward_is_a_shape_and_the_first_is_the_values(planned, tmp_path, folder):
    small = folder(kind="classifier")
    large = planned().policy.path
    entries = [{"model": small, "name": "a"}, {"function": "x.py:f"}, {"model": large, "name": "b"}]
    found = role_shapes(planned(reward_model={}, reward={"sources": entries}))
    told = [(shape.label, shape.source) for shape in found if shape.is_scalar]
    assert told == [("reward a", small), ("reward b", large), ("value", small)]
    alone = role_shapes(planned(reward_model={}, reward={"sources": entries[1:]}))
    assert [shape.label for shape in alone] == ["policy", "reference", "reward", "value"]
    function = role_shapes(planned(reward_model={}, reward={"sources": entries[1:2]}))
    assert "reward" not in {shape.role for shape in function}


def test_a_model_of_the_reward_that_is_yet_to_be_trained_has_the_policys_shape(planned, folder):
    small = folder(kind="classifier")
    entries = [{"model": "runs/default/reward_model"}, {"model": small}]
    asked = planned(reward_model={}, reward={"sources": entries}, data={"preferences": "x.jsonl"})
    found = [(shape.label, shape.source) for shape in role_shapes(asked) if shape.is_scalar]
    policy = asked.policy.path
    assert found == [
        ("reward reward_model", policy),
        (f"reward {Path(small).name}", small),
        ("value", policy),
        ("reward*", policy),
    ]
