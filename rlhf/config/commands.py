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
    STAGES_OF,
    RoleName,
    StageRecord,
)
from rlhf.config.experiment import Experiment
from rlhf.config.rewards import AskedSource, asked_sources, is_same_folder

PREVIEW = "data"
"""The command that shows data, of every stage that has some."""


def stages_of(command: str, experiment: Experiment) -> list[StageRecord]:
    """Return the stages a command runs; the pipeline leaves out those it has no data for."""
    if command == PREVIEW:
        stages = STAGES_OF[PIPELINE]
        return [s for s in stages if value_of(experiment, f"data.{s.reads}") is not None]
    stages = STAGES_OF.get(command, ())
    return [stage for stage in stages if command != PIPELINE or _is_in_pipeline(stage, experiment)]


def _is_in_pipeline(stage: StageRecord, experiment: Experiment) -> bool:
    has_data = value_of(experiment, f"data.{stage.reads}") is not None
    is_replaced = stage.instead is not None and value_of(experiment, stage.instead) is not None
    is_used = stage is not REWARD_MODEL or _uses_own_reward_model(experiment)
    return not stage.is_optional or (has_data and not is_replaced and is_used)


def _uses_own_reward_model(experiment: Experiment) -> bool:
    """Return whether a reward of listed sources names the run's own reward model."""
    listed, own = experiment.reward.sources, own_reward_model(experiment)
    return listed is None or any(
        entry.model is not None and is_same_folder(entry.model, own) for entry in listed
    )


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


def sources(command: str, experiment: Experiment) -> tuple[AskedSource, ...]:
    """Return what the reward of the command's PPO is made of; nothing without PPO or a reward.

    The run's own reward model counts where it is named, where the command trains it, or where it
    lies in the run's folder and nothing else is named.
    """
    stages = stages_of(command, experiment)
    if PPO not in stages:
        return ()
    model = experiment.reward_model.path
    is_there = experiment.reward.function is None and _has(
        Path(experiment.run_dir), REWARD_MODEL, command
    )
    if model is None and (REWARD_MODEL in stages or is_there):
        model = str(own_reward_model(experiment))
    return asked_sources(experiment.reward, model)


def own_reward_model(experiment: Experiment) -> Path:
    """Return where this run's own reward model is, or will be: RUN/reward_model."""
    return Path(experiment.run_dir) / REWARD_MODEL.folder


def trains(command: str, experiment: Experiment, model: str | None) -> bool:
    """Return whether a command trains this reward model before PPO uses it."""
    is_trained = REWARD_MODEL in stages_of(command, experiment)
    return is_trained and model is not None and is_same_folder(model, own_reward_model(experiment))


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
    yield from _missing_reward_model(command, experiment)
    if PPO in stages and not sources(command, experiment):
        yield (
            "ppo has no reward: set data.preferences to train a reward model, reward_model.path to "
            "use one, reward.function=FILE.py:NAME, or reward.sources for several"
        )


def _missing_reward_model(command: str, experiment: Experiment) -> Iterator[str]:
    """Yield a message for the run's own reward model in a list, if nothing made or makes it."""
    own = own_reward_model(experiment)
    for source in sources(command, experiment):
        is_own = (
            source.is_listed and source.kind == "model" and is_same_folder(str(source.what), own)
        )
        if is_own and not trains(command, experiment, str(own)) and not own.exists():
            yield (
                f"{source.setting}={source.what} is this run's own reward model, which is not "
                "there; set data.preferences and run pipeline, or run reward_model first"
            )


def _has(run: Path, stage: StageRecord, command: str) -> bool:
    """Return whether an earlier command left a stage's model in this run's folder."""
    return command != PIPELINE and (run / stage.folder / "config.json").is_file()
