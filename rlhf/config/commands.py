"""Which stages a command runs, and which settings it cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, get_args

from rlhf.catalog.stages import (
    PIPELINE,
    PPO,
    REWARD_MODEL,
    SFT,
    STAGES,
    STAGES_OF,
    RoleName,
    StageRecord,
)
from rlhf.config.experiment import Experiment

PREVIEW = "data"
"""The command that shows data, of every stage that has some."""


def stages_of(command: str, experiment: Experiment) -> list[StageRecord]:
    """Return the stages a command runs; the pipeline leaves out those it has no data for."""
    if command == PREVIEW:
        return [s for s in STAGES if value_of(experiment, f"data.{s.reads}") is not None]
    stages = STAGES_OF.get(command, ())
    return [stage for stage in stages if command != PIPELINE or _is_in_pipeline(stage, experiment)]


def _is_in_pipeline(stage: StageRecord, experiment: Experiment) -> bool:
    has_data = value_of(experiment, f"data.{stage.reads}") is not None
    is_replaced = stage.instead is not None and value_of(experiment, stage.instead) is not None
    return not stage.is_optional or (has_data and not is_replaced)


def value_of(experiment: Experiment, path: str) -> Any:
    """Return a setting by its dotted path."""
    return reduce(getattr, path.split("."), experiment)


def roles_of(
    stages: list[StageRecord], experiment: Experiment, *, reads_values: bool = True
) -> list[RoleName]:
    """Return the roles whose processes the stages need.

    Args:
        stages: The stages that will run.
        experiment: The configuration.
        reads_values: Whether the advantage estimator uses the value role.
    """
    left_out: dict[RoleName, bool] = {
        "reference": experiment.peft.method != "none",
        "value": not reads_values,
    }
    named = dict.fromkeys(role for stage in stages for role in stage.roles)
    return [role for role in get_args(RoleName) if role in named and not left_out.get(role)]


def missing(command: str, experiment: Experiment) -> Iterator[str]:
    """Yield one message for every setting that the command needs and that is not given."""
    stages = stages_of(command, experiment)
    yield from _missing_data(stages, experiment)
    yield from _missing_models(command, stages, experiment)


def _missing_data(stages: list[StageRecord], experiment: Experiment) -> Iterator[str]:
    for stage in stages:
        path = f"data.{stage.reads}"
        if value_of(experiment, path) is None:
            yield f"{path} is not set; {stage.name} needs {stage.rows}, such as {path}=FILE.jsonl"


def _missing_models(
    command: str, stages: list[StageRecord], experiment: Experiment
) -> Iterator[str]:
    policy, run = experiment.policy, Path(experiment.run_dir)
    if policy.path is None and policy.new is None and not _has(run, SFT, command):
        yield (
            "policy.path is not set; give a model folder or hub name, or "
            "policy.new.hidden_size=128 for a small model made from scratch"
        )
    if policy.new is not None and SFT not in stages and not _has(run, SFT, command):
        yield "policy.new needs SFT first: set data.demonstrations and run sft or pipeline"
    rewarded = (
        experiment.reward.function is not None
        or experiment.reward_model.path is not None
        or REWARD_MODEL in stages
        or _has(run, REWARD_MODEL, command)
    )
    if PPO in stages and not rewarded:
        yield (
            "ppo has no reward: set data.preferences to train a reward model, reward_model.path to "
            "use one, or reward.function=FILE.py:NAME"
        )


def _has(run: Path, stage: StageRecord, command: str) -> bool:
    """Return whether an earlier command left a stage's model in this run's folder."""
    return command != PIPELINE and (run / stage.folder / "config.json").is_file()
