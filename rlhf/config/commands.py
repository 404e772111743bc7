"""Which stages a command runs, and which settings it cannot do without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.rewards import AskedSource, asked_sources, is_same_folder

StageName = Literal["sft", "reward_model", "ppo"]


def stages_of(command: str, experiment: Experiment) -> list[StageName]:
    """Return the stages a command runs; the pipeline leaves out those it has no data for."""
    if command != "pipeline":
        return [stage for stage in ("sft", "reward_model", "ppo") if stage == command]
    stages: list[StageName] = ["sft"] if experiment.data.demonstrations is not None else []
    if experiment.data.preferences is not None and _uses_own_reward_model(experiment):
        stages.append("reward_model")
    return [*stages, "ppo"]


def roles_of(
    stages: list[StageName], experiment: Experiment, *, reads_values: bool = True
) -> list[RoleName]:
    """Return the roles whose processes the stages need.

    Args:
        stages: The stages that will run.
        experiment: The configuration.
        reads_values: Whether the advantage estimator uses the value role.
    """
    if "ppo" not in stages:
        roles: dict[StageName, RoleName] = {"sft": "policy", "reward_model": "reward"}
        return [roles[stage] for stage in stages]
    wanted: dict[RoleName, bool] = {
        "policy": True,
        "reference": experiment.peft.method == "none",
        "reward": True,
        "value": reads_values,
    }
    return [role for role, is_wanted in wanted.items() if is_wanted]


def sources(command: str, experiment: Experiment) -> tuple[AskedSource, ...]:
    """Return what the reward of the command's PPO is made of; nothing without PPO or a reward.

    The run's own reward model counts where it is named, where the command trains it, or where it
    lies in the run's folder and nothing else is named.
    """
    stages = stages_of(command, experiment)
    if "ppo" not in stages:
        return ()
    model = experiment.reward_model.path
    is_there = experiment.reward.function is None and _has(
        Path(experiment.run_dir), "reward_model", command
    )
    if model is None and ("reward_model" in stages or is_there):
        model = str(own_reward_model(experiment))
    return asked_sources(experiment.reward, model)


def own_reward_model(experiment: Experiment) -> Path:
    """Return where this run's own reward model is, or will be: RUN/reward_model."""
    return Path(experiment.run_dir) / "reward_model"


def trains(command: str, experiment: Experiment, model: str | None) -> bool:
    """Return whether a command trains this reward model before PPO uses it."""
    is_trained = "reward_model" in stages_of(command, experiment)
    return is_trained and model is not None and is_same_folder(model, own_reward_model(experiment))


def missing(command: str, experiment: Experiment) -> Iterator[str]:
    """Yield one message for every setting that the command needs and that is not given."""
    stages = stages_of(command, experiment)
    yield from _missing_data(stages, experiment)
    yield from _missing_models(command, stages, experiment)


def _missing_data(stages: list[StageName], experiment: Experiment) -> Iterator[str]:
    data = experiment.data
    wanted = {
        "sft": ("data.demonstrations", data.demonstrations, "prompt + completion rows"),
        "reward_model": ("data.preferences", data.preferences, "prompt + chosen + rejected rows"),
        "ppo": ("data.prompts", data.prompts, "prompt rows"),
    }
    for stage in stages:
        path, given, what = wanted[stage]
        if given is None:
            yield f"{path} is not set; {stage} needs {what}, such as {path}=FILE.jsonl"


def _missing_models(command: str, stages: list[StageName], experiment: Experiment) -> Iterator[str]:
    policy, run = experiment.policy, Path(experiment.run_dir)
    if policy.path is None and policy.new is None and not _has(run, "sft", command):
        yield (
            "policy.path is not set; give a model folder or hub name, or "
            "policy.new.hidden_size=128 for a small model made from scratch"
        )
    if policy.new is not None and "sft" not in stages and not _has(run, "sft", command):
        yield "policy.new needs SFT first: set data.demonstrations and run sft or pipeline"
    yield from _missing_reward_model(command, experiment)
    if "ppo" in stages and not sources(command, experiment):
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


def _uses_own_reward_model(experiment: Experiment) -> bool:
    listed, own = experiment.reward.sources, own_reward_model(experiment)
    if listed is None:
        return experiment.reward_model.path is None
    return any(entry.model is not None and is_same_folder(entry.model, own) for entry in listed)


def _has(run: Path, folder: str, command: str) -> bool:
    """Return whether an earlier command left its model in this run's folder."""
    return command != "pipeline" and (run / folder / "config.json").is_file()
