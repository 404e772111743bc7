"""Specs: one record a role, which pickles and builds the role on each of its ranks.

`runtime.assign(PolicySpec(path=...))` gives the role's port. A new role is a class with marked
methods (`rlhf/roles/remote.py`) and a spec here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.optimizer import OptimizerConfig
from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.base import TrainableEngine
from rlhf.engine.world import World
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from rlhf.models.outline import num_weights
from rlhf.models.pretrained import HeadKind, load_causal_lm
from rlhf.models.scalar_model import ScalarModel
from rlhf.rewards.mix import Mix
from rlhf.roles.learner import Learner
from rlhf.roles.passes import Settings
from rlhf.roles.policy import Policy
from rlhf.roles.ports import (
    LanguageModelPort,
    PolicyPort,
    PrecisionPort,
    RankingPort,
    RewardPort,
    SamplerPort,
    SFTPolicyPort,
    ValuePort,
)
from rlhf.roles.precision_probe import PrecisionProbe
from rlhf.roles.reference import Reference
from rlhf.roles.reward import Reward, RewardTrainer
from rlhf.roles.sampler import Sampler
from rlhf.roles.saver import ModelSaver
from rlhf.roles.sft_policy import SFTPolicy
from rlhf.roles.value import Value
from rlhf.runtime.context import RoleContext, for_model
from rlhf.runtime.reward_bench import RewardBench, model_scorer

P = TypeVar("P")


@dataclass(frozen=True, kw_only=True)
class RoleSpec(ABC, Generic[P]):
    """How to build a role of one stage; P is the type of the role's port."""

    processes: ClassVar[RoleName]
    """Whose processes hold it."""
    role: ClassVar[type]
    """What it builds; the marked methods of this class can be asked."""
    path: Path | None
    """Model folder or hub name; None for a role without a model."""

    @abstractmethod
    def build(self, context: RoleContext) -> object:
        """Build the role on one rank."""


@dataclass(frozen=True)
class Assignment:
    """A spec with the run's settings, as it is sent to the ranks."""

    spec: RoleSpec[object]
    experiment: Experiment

    def __call__(self, world: World) -> object:
        """Build the role on this rank."""
        context = RoleContext(self.experiment, world, self.spec.processes)
        return self.spec.build(
            context if self.spec.path is None else for_model(context, self.spec.path)
        )


@dataclass(frozen=True, kw_only=True)
class PrecisionProbeSpec(RoleSpec[PrecisionPort]):
    """The policy, loaded to compare bf16 with fp32."""

    processes = "policy"
    role = PrecisionProbe
    path: Path

    def build(self, context: RoleContext) -> PrecisionProbe:
        """Build the probe; it loads the model when it is called."""
        path, world = str(self.path), context.world

        def load(precision: str) -> LanguageModel:
            return LanguageModel(load_causal_lm(path, precision)).to(world.device)

        return PrecisionProbe(load, num_weights(path), world)


@dataclass(frozen=True, kw_only=True)
class RewardProbeSpec(PrecisionProbeSpec):
    """The same on the reward's processes, where a run has none of a policy."""

    processes = "reward"


@dataclass(frozen=True, kw_only=True)
class SFTPolicySpec(RoleSpec[SFTPolicyPort]):
    """A policy that learns from demonstrations."""

    processes = "policy"
    role = SFTPolicy
    path: Path
    total_updates: int
    """Optimizer steps of the stage."""

    def build(self, context: RoleContext) -> SFTPolicy:
        """Build the policy with SFT's optimizer."""
        optimizer = context.experiment.sft.optimizer
        return SFTPolicy(*policy_parts(context, self.path, optimizer, self.total_updates))


@dataclass(frozen=True, kw_only=True)
class PolicySpec(RoleSpec[PolicyPort]):
    """The policy that PPO improves."""

    processes = "policy"
    role = Policy
    path: Path

    def build(self, context: RoleContext) -> Policy:
        """Build the policy with PPO's policy optimizer."""
        ppo, optimizer = context.experiment.ppo, context.experiment.policy.optimizer
        total = ppo.num_steps * ppo.updates_a_step
        return Policy(*policy_parts(context, self.path, optimizer, total, ppo.updates_a_step))


@dataclass(frozen=True, kw_only=True)
class SamplerSpec(RoleSpec[SamplerPort]):
    """A frozen policy that answers prompts."""

    processes = "policy"
    role = Sampler
    path: Path

    def build(self, context: RoleContext) -> Sampler:
        """Build it without an optimizer."""
        network, tokenizer = context.language_model(self.path)
        engine = context.engine(LanguageModel(network))
        return Sampler(engine, context.sampling(self.path, tokenizer), context.settings)


@dataclass(frozen=True, kw_only=True)
class ReferenceSpec(RoleSpec[LanguageModelPort]):
    """The frozen reference policy."""

    processes = "reference"
    role = Reference
    path: Path

    def build(self, context: RoleContext) -> Reference:
        """Build it without an optimizer."""
        network, _ = context.language_model(self.path)
        temperature = context.experiment.generation.temperature
        engine = context.engine(LanguageModel(network))
        return Reference(engine, context.settings, temperature=temperature)


@dataclass(frozen=True, kw_only=True)
class RewardSpec(RoleSpec[RewardPort]):
    """The scorer of responses: all sources of the reward, each model in a precision of its own."""

    processes = "reward"
    role = Reward
    path: None = None
    mix: Mix
    policy: Path
    """Where the policy's tokenizer lies."""

    def build(self, context: RoleContext) -> Reward:
        """Build every source."""
        bench = RewardBench(context, load_tokenizer(str(self.policy)))
        by_rows, by_batch = (
            [source.build(bench) for source in sources]
            for sources in (self.mix.by_rows, self.mix.by_batch)
        )
        return Reward(by_rows, by_batch)


@dataclass(frozen=True, kw_only=True)
class RewardTrainerSpec(RoleSpec[RankingPort]):
    """A reward model that learns from rankings, or (finished) is measured and normalised."""

    processes = "reward"
    role = RewardTrainer
    path: Path
    total_updates: int
    """Optimizer steps of the stage."""
    head: HeadKind = "new"
    """State of the scalar head at the start."""
    finished: bool = False
    """Whether it is trained and saved already: then it is only measured and normalised."""

    def build(self, context: RoleContext) -> RewardTrainer:
        """Build the model with the reward model's optimizer."""
        config = context.experiment.reward_model
        network = context.scalar_model(self.path, self.head)
        adapter = None if self.finished else context.adapter(network)
        if self.finished:
            network.requires_grad_(False).score.requires_grad_(True)  # noqa: FBT003 - torch's way
        engine = context.engine(ScalarModel(network), config.optimizer)
        scorer = model_scorer(context, self.path, engine, None)
        return RewardTrainer(
            scorer,
            context.learner(engine, config.optimizer, self.total_updates),
            context.saver(engine, network, scorer.tokenizer, adapter),
            config,
        )


@dataclass(frozen=True, kw_only=True)
class ValueSpec(RoleSpec[ValuePort]):
    """The value model."""

    processes = "value"
    role = Value
    path: Path
    head: HeadKind
    """trained, or zero: it then expects nothing anywhere."""

    def build(self, context: RoleContext) -> Value:
        """Build the model with the value role's optimizer."""
        ppo, optimizer = context.experiment.ppo, context.experiment.value.optimizer
        network = context.scalar_model(self.path, self.head)
        tokenizer = load_tokenizer(str(self.path))
        adapter = context.adapter(network)
        engine = context.engine(ScalarModel(network), optimizer)
        total = ppo.num_steps * ppo.updates_a_step
        return Value(
            engine,
            context.learner(engine, optimizer, total, ppo.updates_a_step),
            context.saver(engine, network, tokenizer, adapter),
            context.settings,
        )


def policy_parts(
    context: RoleContext,
    path: Path,
    optimizer: OptimizerConfig,
    total_updates: int,
    updates_a_step: int = 1,
) -> tuple[TrainableEngine, Learner, ModelSaver, Sampling, Settings]:
    """Return engine, learner, saver, sampling and settings of a policy that learns."""
    network, tokenizer = context.language_model(path)
    adapter = context.adapter(network)
    engine = context.engine(LanguageModel(network), optimizer)
    return (
        engine,
        context.learner(engine, optimizer, total_updates, updates_a_step),
        context.saver(engine, network, tokenizer, adapter),
        context.sampling(path, tokenizer),
        context.settings,
    )
