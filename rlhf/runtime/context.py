"""RoleContext: what a role is built from on one rank; networks, engines, learners as configured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.optimizer import OptimizerConfig
from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.base import TrainableEngine
from rlhf.engine.local import LocalEngine
from rlhf.engine.precision import settled
from rlhf.engine.world import World
from rlhf.engine.zero import ZeroEngine
from rlhf.generation.sampling import Sampling
from rlhf.models.adapters import Adapter
from rlhf.models.outline import absent_ids, num_weights
from rlhf.models.pretrained import HeadKind, load_causal_lm, load_scalar
from rlhf.models.recomputation import recompute_blocks
from rlhf.models.stops import stop_ids
from rlhf.roles.learner import Learner
from rlhf.roles.passes import Settings
from rlhf.roles.saver import ModelSaver

if TYPE_CHECKING:
    from torch import nn

    from rlhf.data.tokenizer import TextTokenizer
    from rlhf.models.pretrained import Network


@dataclass(frozen=True)
class RoleContext:
    """The run's settings, the precision chosen, and the rank on which the role is built."""

    experiment: Experiment
    world: World
    role: RoleName
    """Whose processes these are."""

    def language_model(self, path: Path) -> tuple[Network, TextTokenizer]:
        """Load a language model and its tokenizer."""
        return load_causal_lm(str(path), self._weights_precision), load_tokenizer(str(path))

    def scalar_model(self, path: Path, head: HeadKind) -> Network:
        """Load a model with a scalar head."""
        return load_scalar(str(path), head, self._weights_precision, self.experiment.seed)

    @property
    def _weights_precision(self) -> str:
        """Plain torch keeps fp32 weights under autocast; DeepSpeed keeps the fp32 master itself."""
        engine = self.experiment.engine
        return engine.precision if engine.backend == "deepspeed" else "fp32"

    def adapter(self, network: Network) -> Adapter | None:
        """Put adapters into a network, where adapters are to be trained."""
        peft, seed = self.experiment.peft, self.experiment.seed
        return None if peft.method == "none" else Adapter(network, peft, seed=seed)

    def engine(
        self, module: nn.Module, optimizer: OptimizerConfig | None = None
    ) -> TrainableEngine:
        """Wrap a module in an engine; without an optimizer it is frozen."""
        config = self.experiment.engine
        module = module.to(self.world.device)
        if config.gradient_checkpointing and optimizer is not None:
            recompute_blocks(module)
        if config.backend == "torch":
            return LocalEngine(module, optimizer, bf16=config.precision == "bf16")
        placement = self.experiment.cluster.placement(self.role)
        return ZeroEngine(module, self.world, config, placement, optimizer)

    def learner(
        self,
        engine: TrainableEngine,
        optimizer: OptimizerConfig,
        total_updates: int,
        updates_a_step: int = 1,
    ) -> Learner:
        """Return a learner over an engine.

        Args:
            engine: Holds the weights to train.
            optimizer: Settings of the optimizer.
            total_updates: Optimizer steps of the stage, for the learning-rate curve.
            updates_a_step: Optimizer steps of one step of the stage, in which warm-up is counted.
        """
        warmup = optimizer.warmup_steps * updates_a_step
        return Learner(
            engine,
            optimizer.model_copy(update={"warmup_steps": warmup}),
            max_tokens=self.experiment.engine.max_tokens_per_microbatch,
            total_updates=total_updates,
            name=self.role,
        )

    def saver(
        self,
        engine: TrainableEngine,
        network: Network,
        tokenizer: TextTokenizer,
        adapter: Adapter | None,
    ) -> ModelSaver:
        """Return what saves a role's model as a folder."""
        rounded = self.experiment.engine.precision == "bf16"
        return ModelSaver(engine, network, tokenizer, adapter, rounded=rounded)

    @property
    def settings(self) -> Settings:
        """Batch sizes, epochs and seed, as a role that learns needs them."""
        experiment = self.experiment
        return Settings(
            ppo=experiment.ppo,
            seed=experiment.seed,
            precision=experiment.engine.precision,
            longest_response=experiment.generation.max_new_tokens,
            max_tokens=experiment.engine.max_tokens_per_microbatch,
            policy_ranks=experiment.cluster.placement("policy").ranks,
        )

    def sampling(self, path: Path, tokenizer: TextTokenizer) -> Sampling:
        """Return how a language model generates: length, temperature, stop tokens."""
        generation = self.experiment.generation
        return Sampling(
            max_new_tokens=generation.max_new_tokens,
            temperature=generation.temperature,
            batch_size=generation.batch_size,
            backend=generation.backend,
            stop_ids=stop_ids(str(path), tokenizer),
            absent_ids=absent_ids(str(path), tokenizer),
        )


def for_model(context: RoleContext, path: Path) -> RoleContext:
    """Return the context for one model: precision auto is what its size and device allow."""
    engine = context.experiment.engine
    if engine.precision != "auto":
        return context
    engine = settled(engine, num_weights(str(path)), context.world.device)
    return replace(context, experiment=context.experiment.model_copy(update={"engine": engine}))
