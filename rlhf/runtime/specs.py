"""Specs: one record a role, which pickles and builds the role on each of its ranks.

`runtime.assign(PolicySpec(path=...))` gives the role's port. A new role is a class with marked
methods (`rlhf/roles/remote.py`) and a spec here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.optimizer import OptimizerConfig
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.engine.base import TrainableEngine
from rlhf.engine.precision import settled
from rlhf.engine.world import World
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from rlhf.models.outline import num_weights
from rlhf.models.pretrained import HeadKind, load_causal_lm
from rlhf.models.scalar_model import ScalarModel
from rlhf.rewards.process import RewardProcess
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
from rlhf.roles.reward import FunctionScorer, ModelScorer, Reward, RewardTrainer
from rlhf.roles.sampler import Sampler
from rlhf.roles.saver import ModelSaver
from rlhf.roles.sft_policy import SFTPolicy
from rlhf.roles.value import Value
from rlhf.runtime.context import RoleContext

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer

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
        engine, path = self.experiment.engine, self.spec.path
        if engine.precision == "auto" and path is not None:
            engine = settled(engine, num_weights(str(path)), world.device)
        experiment = self.experiment.model_copy(update={"engine": engine})
        return self.spec.build(RoleContext(experiment, world, self.spec.processes))


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
        return SFTPolicy(*_policy_parts(context, self.path, optimizer, self.total_updates))


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
        return Policy(*_policy_parts(context, self.path, optimizer, total, ppo.updates_a_step))


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
    """The scorer of responses: a reward model, a reward function, or both."""

    processes = "reward"
    role = Reward
    path: Path | None
    policy: Path
    """Where the policy's tokenizer lies."""
    function: str | None = None
    """FILE.py:NAME, the file's whole path on the driver."""

    def build(self, context: RoleContext) -> Reward:
        """Build the model and the function, where there is one."""
        config, policy_tokenizer = context.experiment.reward, load_tokenizer(str(self.policy))
        model = function = None
        if self.path is not None:
            network = context.scalar_model(self.path, "trained")
            engine = context.engine(ScalarModel(network))
            model = _scorer(context, self.path, engine, policy_tokenizer)
        if self.function is not None:
            process = RewardProcess(_here(self.function), config.timeout_s)
            function = FunctionScorer(process, policy_tokenizer)
        return Reward(model, function, config)


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
        scorer = _scorer(context, self.path, engine, None)
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


def _policy_parts(
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


def _scorer(
    context: RoleContext,
    path: Path,
    engine: TrainableEngine,
    policy_tokenizer: TextTokenizer | None,
) -> ModelScorer:
    """Score the policy's ids as they are, unless the reward model reads other tokens."""
    own = load_tokenizer(str(path))
    if policy_tokenizer is not None and fingerprint(own) == fingerprint(policy_tokenizer):
        policy_tokenizer = None
    max_tokens = context.experiment.engine.max_tokens_per_microbatch
    return ModelScorer(engine, own, policy_tokenizer, max_tokens=max_tokens)


def _here(function: str) -> str:
    """Return FILE.py:NAME as this node knows it: where the driver found it, else in its own cwd.

    A job's working folder is copied to every node, but not to the same place.
    """
    file, _, name = function.rpartition(":")
    return function if Path(file).is_file() else f"{Path(file).name}:{name}"
