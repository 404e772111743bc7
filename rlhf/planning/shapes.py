"""Shapes: the networks of a run's roles, which of their weights learn, and rows; by configs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rlhf.algo.estimators import find_estimator
from rlhf.catalog.stages import PIPELINE, PPO, REWARD_MODEL, StageRecord
from rlhf.config.cluster import RoleName
from rlhf.config.commands import roles_of, sources, stages_of, trains
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError, ModelError
from rlhf.models.model_shape import ModelShape, adapter_weights, model_shape_of, read_config
from rlhf.models.pretrained import new_config
from rlhf.models.published import published_config
from rlhf.plugin import fetched
from rlhf.rewards.mix import Mix
from rlhf.rewards.sources import made_of


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleShape:
    """One role's network in one stage."""

    role: RoleName
    stage: StageRecord
    """The reward model learns in a stage of its own; all roles run together in PPO."""
    model_shape: ModelShape
    num_weights: int
    """Adapters included."""
    num_trainable: int
    """0 for a frozen role."""
    source: str
    """Where the shape was read."""
    label: str = ""
    """What tables call it; two reward models are one role."""

    @property
    def writes(self) -> bool:
        """Whether the role generates responses."""
        return self.role == "policy"

    @property
    def is_scalar(self) -> bool:
        """Whether the network ends in one number, not in logits."""
        return self.role in ("reward", "value")


def role_shapes(experiment: Experiment) -> list[RoleShape]:
    """Return the networks of every role with a model, by stage.

    Raises:
        ConfigError: when no model is named.
        ModelError: when a config cannot be read.
    """
    return list(_shapes(experiment))


def longest_row(experiment: Experiment) -> int:
    """Return the tokens of the longest prompt with the longest response."""
    return experiment.data.max_prompt_length + experiment.generation.max_new_tokens


def rows_a_rank(rows: int, ranks: int) -> int:
    """Return the number of rows of the rank that has the most."""
    return -(-rows // ranks)


def _shapes(experiment: Experiment) -> Iterator[RoleShape]:
    estimator = find_estimator(experiment.ppo.advantage_estimator)
    roles = roles_of([PPO], experiment, reads_values=estimator.reads_values)
    mix = Mix(made_of(sources(PIPELINE, experiment)))
    learns_reward = REWARD_MODEL in stages_of(PIPELINE, experiment)
    for role in roles:
        if role == "reward":
            yield from _reward_shapes(experiment, mix)
        else:
            yield _shape(experiment, role, PPO, _source(experiment, role, mix))
    if learns_reward:
        yield _shape(experiment, "reward", REWARD_MODEL, experiment.policy.path)


def _reward_shapes(experiment: Experiment, mix: Mix) -> Iterator[RoleShape]:
    """Yield the networks of the reward: none where functions alone score."""
    models = [source for source in mix.sources if source.model is not None]
    if not mix.sources:  # No reward is named yet: a plan takes one of the policy's shape.
        yield _shape(experiment, "reward", PPO, experiment.policy.path)
    for source in models:
        shape = _shape(experiment, "reward", PPO, _there(experiment, source.model))
        label = f"reward {source.name}" if len(models) > 1 else "reward"
        yield replace(shape, label=label)


def _there(experiment: Experiment, model: str | None) -> str | None:
    """Return where a reward model's shape is: the policy's, if the run trains it first."""
    return experiment.policy.path if trains(PIPELINE, experiment, model) else model


def _shape(
    experiment: Experiment, role: RoleName, stage: StageRecord, source: str | None
) -> RoleShape:
    scalar = role in ("reward", "value")
    config, name = _config(experiment, source)
    model_shape = model_shape_of(config, name, scalar=scalar)
    learns = role in ("policy", "value") or stage is REWARD_MODEL
    added = trainable = 0
    if learns and experiment.peft.method == "lora":
        added = trainable = adapter_weights(config, name, experiment.peft, scalar=scalar)
    elif learns:
        trainable = model_shape.num_weights
    return RoleShape(
        role=role,
        stage=stage,
        model_shape=model_shape,
        num_weights=model_shape.num_weights + added,
        num_trainable=trainable,
        source=name,
        label="reward*" if stage is REWARD_MODEL else role,
    )


def _source(experiment: Experiment, role: RoleName, mix: Mix) -> str | None:
    """Return the path of a role's config; None for a new model."""
    policy = experiment.policy.path
    first = str(mix.models[0]) if mix.models else None
    given: dict[RoleName, str | None] = {
        "policy": policy,
        "reference": experiment.reference.path or policy,
        "value": experiment.value.path or _there(experiment, first) or policy,
    }
    return given[role]


def _read(source: str) -> tuple[Any, str]:
    """Return the config of a folder, a file or a cached hub model, else the published one."""
    try:
        return read_config(fetched(source)), source
    except ModelError:
        known = published_config(source)
        if known is None:
            raise
        return known, f"{source}, by its published config"


def _config(experiment: Experiment, source: str | None) -> tuple[Any, str]:
    """Return a network's config, and where it was read."""
    if source is not None:
        return _read(source)
    new = experiment.policy.new
    if new is None:
        raise ConfigError(
            "policy.path is not set; give a folder with config.json, or the file itself, such as "
            "policy.path=FOLDER/config.json, or policy.new.hidden_size=128"
        )
    return new_config(new, new.vocab_size), "policy.new"
