"""Case: a command and its settings, and the data read once for all checks and for the run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast

from rlhf.algo.estimators import find_estimator
from rlhf.catalog.stages import PIPELINE, PPO, SFT, StageRecord
from rlhf.config.cluster import RoleName
from rlhf.config.commands import roles_of, sources, stages_of, trains
from rlhf.config.experiment import Experiment
from rlhf.data.problems import Faults
from rlhf.evaluation.judges import load_judge
from rlhf.plugin import PACKAGED
from rlhf.rewards.mix import Mix
from rlhf.rewards.process import RewardProcess
from rlhf.rewards.sources import RewardSource, check_sources, made_of
from rlhf.runtime.reach import address_of
from rlhf.stages.inputs import Inputs, load_inputs


@dataclass(frozen=True)
class CheckContext:
    """A command and its settings; data and models are read at first use, once."""

    command: str
    """The name of a training command."""
    experiment: Experiment

    @property
    def stages(self) -> list[StageRecord]:
        """The stages the command runs."""
        return stages_of(self.command, self.experiment)

    @property
    def start(self) -> str | None:
        """The path of the policy's first weights: as configured, else this run's SFT."""
        if self.experiment.policy.path is not None:
            return self.experiment.policy.path
        if self.command == PIPELINE or SFT in self.stages:
            return None  # the run's SFT is made from them
        sft = Path(self.experiment.run_dir) / SFT.folder
        return str(sft) if is_model(sft) else None

    @cached_property
    def inputs(self) -> Inputs:
        """The data, read and tokenized; the faults of reward functions are told with theirs."""
        faults, timeout_s = Faults(), self.experiment.reward.timeout_s
        found = faults.of(lambda: load_inputs(self.experiment, self.stages, self.start))
        columns = None if found is None else found.prompt_columns
        files = faults.of(lambda: check_sources(self.mix.sources, timeout_s, columns))
        faults.check()
        return replace(cast("Inputs", found), reward_files=files or [])

    @cached_property
    def judge(self) -> RewardProcess | None:
        """The judge of the evaluation, where PPO runs and there is one."""
        spec = self.experiment.evaluation.judge
        if spec is None or PPO not in self.stages:
            return None
        return load_judge(spec, self.experiment.reward.timeout_s)

    @cached_property
    def mix(self) -> Mix:
        """The sources of PPO's reward; none without PPO."""
        return Mix(made_of(sources(self.command, self.experiment)))

    @property
    def models(self) -> dict[str, str]:
        """Setting -> path of every model the stages load; a GGUF file is only read by its start."""
        experiment = self.experiment
        given: dict[str, str | None] = {"policy.path": self.start}
        if PPO in self.stages:
            given["reference.path"] = experiment.reference.path
            given.update(reward_models(self))
            given["value.path"] = experiment.value.path
        paths = {name: path for name, path in given.items() if path and not path.endswith(".gguf")}
        return {name: path for name, path in paths.items() if not path.startswith(PACKAGED)}

    @property
    def starts_ray(self) -> bool:
        """Whether the run starts a Ray cluster of its own on this machine."""
        cluster = self.experiment.cluster
        return cluster.backend == "ray" and address_of(cluster) == "local"

    @property
    def joins_ray(self) -> bool:
        """Whether the run joins a Ray cluster that is running already."""
        cluster = self.experiment.cluster
        return cluster.backend == "ray" and address_of(cluster) != "local"


def is_made_here(context: CheckContext, source: RewardSource) -> bool:
    """Return whether a source is the reward model that the command trains first."""
    return trains(context.command, context.experiment, source.model)


def reward_models(context: CheckContext) -> dict[str, str]:
    """Return setting -> path of every reward model that PPO uses, and that is there already."""
    return {
        source.asked.setting: source.model
        for source in context.mix.sources
        if source.model is not None and not is_made_here(context, source)
    }


def roles_needed(stages: list[StageRecord], experiment: Experiment) -> list[RoleName]:
    """Return the roles whose processes the stages need; value only if the advantages use it."""
    reads_values = find_estimator(experiment.ppo.advantage_estimator).reads_values
    return roles_of(stages, experiment, reads_values=reads_values)


def is_model(folder: Path) -> bool:
    """Return whether a folder holds a model."""
    return (folder / "config.json").is_file()
