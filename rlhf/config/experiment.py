"""Experiment: the whole configuration, and the checks that span sections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.config.data import DataConfig
from rlhf.config.engine import EngineConfig
from rlhf.config.generation import GenerationConfig
from rlhf.config.model import PeftConfig, PolicyConfig, ReferenceConfig, ValueConfig
from rlhf.config.observe import CheckpointConfig, EvaluationConfig, ExportConfig, TrackingConfig
from rlhf.config.plan import PlanConfig
from rlhf.config.preview import PreviewConfig
from rlhf.config.raw_deepspeed import raw_checks
from rlhf.config.rewards import RewardConfig, source_checks
from rlhf.config.section import Place, Section
from rlhf.config.stages import PPOConfig, RewardModelConfig, SFTConfig
from rlhf.config.sweep import SweepConfig

RunMode = Literal["private", "group", "everyone"]


class Experiment(Section):
    """Everything one run needs."""

    run_dir: Place = "runs/default"
    """Folder of the run; the same command in the same folder goes on where it stopped."""
    run_mode: RunMode = "private"
    """Who may read what a command writes: private (its owner: folders 0700, files 0600), group
    (0750 and 0640) or everyone (0755 and 0644). Files that are there already keep their mode."""
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
    sweep: SweepConfig = SweepConfig()
    plan: PlanConfig = PlanConfig()
    preview: PreviewConfig = PreviewConfig()


def cross_checks(experiment: Experiment) -> Iterator[str]:
    """Yield one message for every impossible combination of settings."""
    yield from _data_checks(experiment.data)
    yield from _batch_checks(experiment.ppo)
    yield from _ppo_checks(experiment)
    yield from _model_checks(experiment)
    yield from source_checks(experiment.reward, experiment.reward_model.path)
    yield from _engine_checks(experiment)
    yield from _placement_checks(experiment)


def _data_checks(data: DataConfig) -> Iterator[str]:
    if data.window_overlap >= data.max_length:
        yield (
            f"data.window_overlap={data.window_overlap} leaves nothing of a window of "
            f"data.max_length={data.max_length} to learn; legal: 1 to {data.max_length - 1}"
        )


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
        for role, placement in cluster.table().items()
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
    yield from _raw_deepspeed_checks(cluster, engine)


def _raw_deepspeed_checks(cluster: ClusterConfig, engine: EngineConfig) -> Iterator[str]:
    if engine.deepspeed and engine.backend == "torch":
        yield "engine.deepspeed needs engine.backend=deepspeed; torch reads no DeepSpeed settings"
    yield from raw_checks(engine.deepspeed)
    stages = [row.stage(engine.zero_stage) for row in cluster.table().values()]
    if "zero_optimization" in engine.deepspeed and not any(stages):
        yield (
            "engine.deepspeed.zero_optimization has no effect at ZeRO stage 0, and no role has "
            "another; nearest: engine.zero_stage=1"
        )


def _placement_checks(experiment: Experiment) -> Iterator[str]:
    cluster, engine = experiment.cluster, experiment.engine
    table = cluster.table()
    for role, row in table.items():
        host = row.colocate_with
        if host is not None and (host == role or table[host].colocate_with is not None):
            yield (
                f"cluster.{role}.colocate_with={host} is not a role with slots of its own; legal: "
                + ", ".join(r for r in table if r != role and table[r].colocate_with is None)
            )
        elif host is not None and row.ranks > table[host].ranks:
            yield (
                f"cluster.{role}.ranks={row.ranks} do not fit beside "
                f"cluster.{host}.ranks={table[host].ranks}; nearest legal value: "
                f"{table[host].ranks}"
            )
        if host is not None and row.gpus is not None:
            yield (
                f"cluster.{role}.gpus={row.gpus:g} would not be used: it sits on the GPUs of "
                f"{host} (cluster.{role}.colocate_with); unset one"
            )
        yield from _offload_checks(role, row, engine)
    if cluster.max_restarts and cluster.backend == "in_process":
        yield "cluster.max_restarts needs cluster.backend=ray; in_process has no workers to lose"
    if cluster.residency == "in_turn" and cluster.backend == "in_process":
        yield "cluster.residency=in_turn needs cluster.backend=ray; in_process offloads no role"
    elif cluster.residency == "in_turn" and not any(row.colocate_with for row in table.values()):
        yield (
            "cluster.residency=in_turn needs roles that sit together; set "
            "cluster.ROLE.colocate_with=ROLE, or cluster.residency=auto"
        )


def _offload_checks(role: str, row: RolePlacement, engine: EngineConfig) -> Iterator[str]:
    if row.offload == "none":
        return
    stage = row.stage(engine.zero_stage)
    least = 3 if row.offload == "weights" else 1
    if engine.backend == "torch":
        yield f"cluster.{role}.offload={row.offload} needs engine.backend=deepspeed"
    elif role == "reference" and row.offload == "optimizer":
        yield (
            "cluster.reference.offload=optimizer finds no optimizer: the reference does not "
            "learn; legal: none, weights"
        )
    elif stage < least:
        yield (
            f"cluster.{role}.offload={row.offload} needs a ZeRO stage of {least} or higher, and "
            f"{role} has {stage}; nearest: cluster.{role}.zero_stage={least}"
        )
