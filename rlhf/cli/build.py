"""What each rank builds: model, engine and role from a Part; runs inside the role's process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.optimizer import OptimizerConfig
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.engine.base import TrainableEngine
from rlhf.engine.local import LocalEngine
from rlhf.engine.precision import settled
from rlhf.engine.world import World
from rlhf.engine.zero import ZeroEngine
from rlhf.generation.sampling import Sampling
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.outline import absent_ids, num_weights
from rlhf.models.pretrained import HeadKind, load_causal_lm, load_scalar
from rlhf.models.recomputation import recompute_blocks
from rlhf.models.scalar_model import ScalarModel
from rlhf.models.stops import stop_ids
from rlhf.rewards.process import RewardProcess
from rlhf.roles.keeper import Keeper
from rlhf.roles.learner import Learner
from rlhf.roles.passes import Settings
from rlhf.roles.policy import Policy
from rlhf.roles.precision_probe import PrecisionProbe
from rlhf.roles.reference import Reference
from rlhf.roles.reward import FunctionJudge, ModelJudge, Reward, RewardLearner
from rlhf.roles.value import Value
from rlhf.roles.writer import Writer

if TYPE_CHECKING:
    from torch import nn

    from rlhf.data.tokenizer import TextTokenizer
    from rlhf.models.pretrained import Network

PartKind = Literal[
    "probe", "pupil", "apprentice", "policy", "reference", "judge", "value", "writer"
]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One role's part in one act; pickles, and builds the role when called on a rank."""

    kind: PartKind
    role: RoleName
    """Whose processes play it."""
    experiment: Experiment
    path: str | None
    """Model folder or hub name; None for a judge that is a function alone."""
    head: HeadKind = "trained"
    """State of a scalar head at the start."""
    finished: bool = False
    """Of an apprentice: it is measured and normalised only; its adapters are written already."""
    total_updates: int = 1
    """Optimizer steps of the act, for the learning-rate curve."""
    updates_a_step: int = 1
    """Optimizer steps of one step of the stage, in which warm-up is counted."""
    policy_path: str = ""
    """Where a judge finds the policy's tokenizer."""
    function: str | None = None
    """A judge's FILE.py:NAME."""

    def __call__(self, world: World) -> object:
        """Build the role on this rank."""
        return _BUILDERS[self.kind](self._settled(world), world)

    def _settled(self, world: World) -> Part:
        """Return the part with the precision that its model gets on this device."""
        engine = self.experiment.engine
        if engine.precision == "auto" and self.path is not None:
            engine = settled(engine, num_weights(self.path), world.device)
        return replace(self, experiment=self.experiment.model_copy(update={"engine": engine}))

    @property
    def folder(self) -> str:
        """The model's folder or name."""
        assert self.path is not None
        return self.path


def _probe(part: Part, world: World) -> object:
    def load(precision: str) -> LanguageModel:
        network = load_causal_lm(part.folder, precision)
        return LanguageModel(network).to(world.device)

    return PrecisionProbe(load, num_weights(part.folder), world)


def _pupil(part: Part, world: World) -> object:
    return _learning_policy(part, world, part.experiment.sft.optimizer)


def _policy(part: Part, world: World) -> object:
    return _learning_policy(part, world, part.experiment.policy.optimizer)


def _learning_policy(part: Part, world: World, optimizer: OptimizerConfig) -> Policy:
    network, tokenizer = _language_model(part)
    adapter = _adapter(part, network)
    engine = _engine(part, LanguageModel(network), world, optimizer)
    return Policy(
        engine,
        _learner(part, engine, optimizer),
        _keeper(part, engine, network, tokenizer, adapter),
        _sampling(part, tokenizer),
        _settings(part),
    )


def _writer(part: Part, world: World) -> object:
    network, tokenizer = _language_model(part)
    return Writer(
        _engine(part, LanguageModel(network), world),
        _sampling(part, tokenizer),
        _settings(part),
    )


def _reference(part: Part, world: World) -> object:
    network, _ = _language_model(part)
    return Reference(
        _engine(part, LanguageModel(network), world),
        _settings(part),
        temperature=part.experiment.generation.temperature,
    )


def _judge(part: Part, world: World) -> object:
    policy_tokenizer = load_tokenizer(part.policy_path)
    model = function = None
    if part.path is not None:
        model = _model_judge(part, _frozen_scalar(part, world), policy_tokenizer)
    if part.function is not None:
        timeout_s = part.experiment.reward.timeout_s
        reward = RewardProcess(_here(part.function), timeout_s)
        function = FunctionJudge(reward, policy_tokenizer)
    return Reward(model, function)


def _apprentice(part: Part, world: World) -> object:
    config = part.experiment.reward_model
    network = _scalar(part)
    adapter = None if part.finished else _adapter(part, network)
    if part.finished:
        network.requires_grad_(False).score.requires_grad_(True)  # noqa: FBT003 - torch's way
    engine = _engine(part, ScalarModel(network), world, config.optimizer)
    judge = _model_judge(part, engine, None)
    return RewardLearner(
        judge,
        _learner(part, engine, config.optimizer),
        _keeper(part, engine, network, judge.tokenizer, adapter),
        config,
    )


def _value(part: Part, world: World) -> object:
    optimizer = part.experiment.value.optimizer
    network, tokenizer = _scalar(part), load_tokenizer(part.folder)
    adapter = _adapter(part, network)
    engine = _engine(part, ScalarModel(network), world, optimizer)
    return Value(
        engine,
        _learner(part, engine, optimizer),
        _keeper(part, engine, network, tokenizer, adapter),
        _settings(part),
    )


def _language_model(part: Part) -> tuple[Network, TextTokenizer]:
    return load_causal_lm(part.folder, _weights_precision(part)), load_tokenizer(part.folder)


def _scalar(part: Part) -> Network:
    return load_scalar(part.folder, part.head, _weights_precision(part), part.experiment.seed)


def _weights_precision(part: Part) -> str:
    """Plain torch keeps fp32 weights under autocast; DeepSpeed keeps the fp32 master itself."""
    engine = part.experiment.engine
    return engine.precision if engine.backend == "deepspeed" else "fp32"


def _frozen_scalar(part: Part, world: World) -> TrainableEngine:
    return _engine(part, ScalarModel(_scalar(part)), world)


def _model_judge(
    part: Part, engine: TrainableEngine, policy_tokenizer: TextTokenizer | None
) -> ModelJudge:
    """Score the policy's ids as they are, unless the reward model reads other tokens."""
    own = load_tokenizer(part.folder)
    if policy_tokenizer is not None and fingerprint(own) == fingerprint(policy_tokenizer):
        policy_tokenizer = None
    max_tokens = part.experiment.engine.max_tokens_per_microbatch
    return ModelJudge(engine, own, policy_tokenizer, max_tokens=max_tokens)


def _adapter(part: Part, network: Network) -> Adapter | None:
    peft = part.experiment.peft
    return None if peft.method == "none" else Adapter(network, peft, seed=part.experiment.seed)


def _engine(
    part: Part, module: nn.Module, world: World, optimizer: OptimizerConfig | None = None
) -> TrainableEngine:
    config = part.experiment.engine
    module = module.to(world.device)
    if config.gradient_checkpointing and optimizer is not None:
        recompute_blocks(module)
    if config.backend == "torch":
        return LocalEngine(module, optimizer, bf16=config.precision == "bf16")
    return ZeroEngine(
        module, world, config, part.experiment.cluster.placement(part.role), optimizer
    )


def _learner(part: Part, engine: TrainableEngine, optimizer: OptimizerConfig) -> Learner:
    return Learner(
        engine,
        optimizer.model_copy(update={"warmup_steps": optimizer.warmup_steps * part.updates_a_step}),
        max_tokens=part.experiment.engine.max_tokens_per_microbatch,
        total_updates=part.total_updates,
    )


def _keeper(
    part: Part,
    engine: TrainableEngine,
    network: Network,
    tokenizer: TextTokenizer,
    adapter: Adapter | None,
) -> Keeper:
    rounded = part.experiment.engine.precision == "bf16"
    return Keeper(engine, network, tokenizer, adapter, rounded=rounded)


def _settings(part: Part) -> Settings:
    experiment = part.experiment
    return Settings(
        ppo=experiment.ppo,
        seed=experiment.seed,
        precision=experiment.engine.precision,
        longest_response=experiment.generation.max_new_tokens,
        max_tokens=experiment.engine.max_tokens_per_microbatch,
        policy_ranks=experiment.cluster.placement("policy").ranks,
    )


def _sampling(part: Part, tokenizer: TextTokenizer) -> Sampling:
    generation = part.experiment.generation
    return Sampling(
        max_new_tokens=generation.max_new_tokens,
        temperature=generation.temperature,
        batch_size=generation.batch_size,
        backend=generation.backend,
        stop_ids=stop_ids(part.folder, tokenizer),
        absent_ids=absent_ids(part.folder, tokenizer),
    )


def _here(function: str) -> str:
    """Return FILE.py:NAME as this node knows it: where the driver found it, else in its own cwd.

    A job's working folder is copied to every node, but not to the same place.
    """
    file, _, name = function.rpartition(":")
    return function if Path(file).is_file() else f"{Path(file).name}:{name}"


_BUILDERS = {
    "probe": _probe,
    "pupil": _pupil,
    "apprentice": _apprentice,
    "policy": _policy,
    "reference": _reference,
    "judge": _judge,
    "value": _value,
    "writer": _writer,
}
