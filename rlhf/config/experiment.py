"""Experiment: the whole configuration, and the checks that span sections."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from rlhf.config.cluster import ClusterConfig
from rlhf.config.data import DataConfig
from rlhf.config.engine import EngineConfig
from rlhf.config.generation import GenerationConfig
from rlhf.config.model import PeftConfig, PolicyConfig, ReferenceConfig, ValueConfig
from rlhf.config.observe import CheckpointConfig, EvaluationConfig, ExportConfig, TrackingConfig
from rlhf.config.section import Section
from rlhf.config.stages import PPOConfig, RewardConfig, RewardModelConfig, SFTConfig


class Experiment(Section):
    """Everything one run needs."""

    run_dir: str = "runs/default"
    """Folder of the run; the same command in the same folder goes on where it stopped."""
    seed: int = Field(default=0, ge=0)
    """Decides every random draw, together with the step and the sample's index."""
    policy: PolicyConfig = PolicyConfig()
    reference: ReferenceConfig = ReferenceConfig()
    reward_model: RewardModelConfig = RewardModelConfig()
    value: ValueConfig = ValueConfig()
    reward: RewardConfig = RewardConfig()
    data: DataConfig = DataConfig()
    sft: SFTConfig = SFTConfig()
    ppo: PPOConfig = PPOConfig()
    generation: GenerationConfig = GenerationConfig()
    peft: PeftConfig = PeftConfig()
    engine: EngineConfig = EngineConfig()
    cluster: ClusterConfig = ClusterConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    tracking: TrackingConfig = TrackingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    export: ExportConfig = ExportConfig()


def cross_checks(experiment: Experiment) -> Iterator[str]:
    """Yield one message for every impossible combination of settings."""
    yield from _batch_checks(experiment.ppo)
    yield from _ppo_checks(experiment)
    yield from _model_checks(experiment)
    yield from _engine_checks(experiment)


def _batch_checks(ppo: PPOConfig) -> Iterator[str]:
    rows = ppo.rollout_batch_size * ppo.samples_per_prompt
    if rows % ppo.minibatch_size:
        below = rows // ppo.minibatch_size * ppo.minibatch_size
        legal = [
            str(size // ppo.samples_per_prompt)
            for size in (below, below + ppo.minibatch_size)
            if size and size % ppo.samples_per_prompt == 0
        ]
        samples = f" x ppo.samples_per_prompt={ppo.samples_per_prompt}"
        yield (
            f"ppo.rollout_batch_size={ppo.rollout_batch_size}"
            f"{samples if ppo.samples_per_prompt > 1 else ''} is not a multiple of "
            f"ppo.minibatch_size={ppo.minibatch_size}; nearest legal values: {', '.join(legal)}"
        )


def _ppo_checks(experiment: Experiment) -> Iterator[str]:
    ppo, longest = experiment.ppo, experiment.generation.max_new_tokens
    if ppo.ptx_coef and experiment.data.pretraining is None:
        yield (
            f"ppo.ptx_coef={ppo.ptx_coef} needs texts; set data.pretraining=FILE.jsonl, "
            "or ppo.ptx_coef=0"
        )
    if bool(ppo.overlong_penalty) != bool(ppo.overlong_buffer) or ppo.overlong_buffer > longest:
        yield (
            f"ppo.overlong_penalty={ppo.overlong_penalty} grows over the last "
            f"ppo.overlong_buffer={ppo.overlong_buffer} of generation.max_new_tokens={longest} "
            f"tokens; set both, or neither; legal buffers: 1 to {longest}"
        )


def _model_checks(experiment: Experiment) -> Iterator[str]:
    new = experiment.policy.new
    if new is not None and experiment.policy.path is not None:
        yield "policy.path and policy.new are both set; keep one"
    if new is not None and new.hidden_size % (2 * new.num_heads):
        step = 2 * new.num_heads
        yield (
            f"policy.new.hidden_size={new.hidden_size} does not give each of "
            f"policy.new.num_heads={new.num_heads} heads an even width; "
            f"nearest legal value: {max(1, new.hidden_size // step) * step}"
        )
    if experiment.peft.method != "none" and experiment.reference.path is not None:
        yield (
            f"peft.method={experiment.peft.method} answers the reference from the policy's base "
            f"weights, so reference.path={experiment.reference.path} would not be used; unset it"
        )


def _engine_checks(experiment: Experiment) -> Iterator[str]:
    cluster, engine = experiment.cluster, experiment.engine
    many = {
        f"cluster.{role}.ranks={placement.ranks}"
        for role, placement in (
            ("policy", cluster.policy),
            ("reference", cluster.reference),
            ("reward", cluster.reward),
            ("value", cluster.value),
        )
        if placement.ranks > 1
    }
    for setting in sorted(many):
        if cluster.backend == "in_process":
            yield f"{setting} needs cluster.backend=ray; in_process runs one rank a role"
        if engine.backend == "torch":
            yield f"{setting} needs engine.backend=deepspeed; torch holds whole weights on one rank"
    if engine.backend == "torch" and engine.zero_stage:
        yield (
            f"engine.zero_stage={engine.zero_stage} needs engine.backend=deepspeed; "
            "legal with torch: 0"
        )
    if cluster.backend == "in_process" and engine.backend == "deepspeed":
        yield "cluster.backend=in_process needs engine.backend=torch"
