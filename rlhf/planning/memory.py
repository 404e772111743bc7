"""Memory: bytes that one rank of a role needs in each phase of a step; a pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rlhf.algo.packing import rounded
from rlhf.catalog.stages import REWARD_MODEL
from rlhf.config.experiment import Experiment
from rlhf.engine.memory import SHARE
from rlhf.engine.precision import LEAST_WEIGHTS
from rlhf.engine.zero import effective_stage
from rlhf.engine.zero_config import bucket_size
from rlhf.generation.slots import BYTES_A_NUMBER
from rlhf.planning.activations import Learns, Pass, kept_bytes, working_bytes
from rlhf.planning.logits import logit_bytes
from rlhf.planning.model_memory import FP32, Model, ModelMemory, model_memory
from rlhf.planning.shapes import RoleShape, longest_row, rows_a_rank
from rlhf.planning.writing import arranged_bytes, writing_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The device that ranks run on, as far as memory goes."""

    memory: float
    """Bytes of one GPU, or of a whole node without any."""
    is_gpu: bool
    bf16: bool
    """Whether it multiplies bf16 matrices fast, so that precision auto means bf16."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleMemory:
    """Bytes of one rank of one role."""

    shape: RoleShape
    model: Model
    model_memory: ModelMemory
    copy: float = 0
    """Whole weights that stage 3 gathers to generate with."""
    cache: float = 0
    """Keys and values of the rows being generated."""
    arranged: float = 0
    """Copies of weights in the order that few rows are multiplied fastest in."""
    num_slots: int = 0
    """Rows that are generated together."""
    writing: float = 0
    """Prompts being read or tokens being drawn, and captured graphs."""
    working: float = 0
    """Tensors of a block in the making, or of its way back."""
    scoring: float = 0
    """Tensors of a forward pass without gradients."""
    activations: float = 0
    """What blocks keep for the backward pass."""
    logits: float = 0
    """Logits and what else stands at the top of the backward pass."""
    host: float = 0
    """In host memory on the node: offloaded tensors, and a checkpoint in the making on rank 0."""

    @property
    def resting(self) -> float:
        """Bytes on the device between calls."""
        return self.model_memory.resting

    @property
    def phases(self) -> dict[str, float]:
        """Return the peak bytes on the device by phase: generate, score, learn, step."""
        phases = {"score": self._scoring()}
        if self.shape.writes:
            phases["generate"] = self._generating()
        if self.shape.num_trainable:
            phases["learn"] = self._learning()
            phases["step"] = (
                self.model_memory.weights
                + self.model_memory.optimizer
                + (
                    self.model_memory.gradients
                    + self.model_memory.stepping
                    + self.model_memory.always_buckets
                )
            )
        return phases

    @property
    def peak(self) -> float:
        """Return the peak bytes on the device over all phases."""
        return max(self.phases.values())

    def _scoring(self) -> float:
        """Return the peak bytes of a forward pass: in its blocks or at its top."""
        blocks = self.model_memory.gathering + self.working
        return self.resting + self.model_memory.gathered + max(blocks, self.scoring)

    def _generating(self) -> float:
        return self.resting + self.copy + self.arranged + self.cache + self.writing

    def _learning(self) -> float:
        """Return the peak bytes of a backward pass.

        Stage 2 takes its bucket when the output layer is done, and gives it back each time.
        """
        kept = self.model_memory.gathered + self.activations
        if self.model.stage == 2:
            without = self.model_memory.learning - self.model_memory.buckets
            return without + kept + max(self.logits, self.model_memory.buckets + self.working)
        return self.model_memory.learning + kept + self.logits


def role_memory(shape: RoleShape, experiment: Experiment, device: Device) -> RoleMemory:
    """Return the bytes that one rank of a role needs.

    Args:
        shape: The role's network.
        experiment: Placement, ZeRO stages, batch sizes, lengths.
        device: The device it runs on.
    """
    model = model_of(shape, experiment, device)
    here = model_memory(model)
    forward = forward_pass(shape, experiment, model)
    learning = replace(forward, learns=_learns(shape, experiment))
    model_shape = shape.model_shape
    work = working_bytes(model_shape, forward)
    tops = 0.0 if shape.is_scalar else logit_bytes(model_shape, forward)
    memory = RoleMemory(
        shape=shape,
        model=model,
        model_memory=here,
        working=work,
        scoring=max(work, tops),
        host=here.host + _kept(model),
    )
    if shape.num_trainable:
        top = 0.0 if shape.is_scalar else logit_bytes(model_shape, learning)
        kept = kept_bytes(model_shape, learning)
        memory = replace(memory, activations=kept, logits=max(top, work))
    return _with_writing(memory, experiment, device) if shape.writes else memory


def model_of(shape: RoleShape, experiment: Experiment, device: Device) -> Model:
    """Return how the role's ranks store its weights."""
    row, engine = experiment.cluster.placement(shape.role), experiment.engine
    precision = engine.precision
    if precision == "auto":
        large = shape.model_shape.num_weights >= LEAST_WEIGHTS
        precision = "bf16" if large and device.bf16 else "fp32"
    settled = engine.model_copy(update={"precision": precision})
    asked = engine.zero_stage if row.zero_stage is None else row.zero_stage
    torch_alone = engine.backend == "torch"
    stage = effective_stage(asked, settled, trainable=shape.num_trainable > 0)
    raw = engine.deepspeed.get("zero_optimization", {})
    return Model(
        num_weights=shape.num_weights,
        num_trainable=shape.num_trainable,
        largest_weight=shape.model_shape.largest_weight,
        ranks=row.ranks,
        stage=0 if torch_alone else stage,
        number_bytes=FP32 if torch_alone or precision == "fp32" else 2,
        offload=row.offload,
        bucket=int(raw.get("reduce_bucket_size", bucket_size(shape.num_trainable))),
        on_gpu=device.is_gpu,
    )


def forward_pass(shape: RoleShape, experiment: Experiment, model: Model) -> Pass:
    """Return the largest microbatch of the role: as many whole rows as fit in the budget."""
    ppo, longest = experiment.ppo, longest_row(experiment)
    rows, share = ppo.rollout_batch_size * ppo.samples_per_prompt, 1.0
    if shape.stage is REWARD_MODEL:
        rows, longest = 2 * experiment.reward_model.batch_size, experiment.data.max_length
    elif shape.role == "policy":
        share = experiment.generation.max_new_tokens / longest
    whole = rows_a_rank(rows, model.ranks) * longest
    tokens = max(longest, min(experiment.engine.max_tokens_per_microbatch, whole))
    return Pass(
        number_bytes=model.number_bytes,
        tokens=tokens,
        longest=longest,
        positions=rounded(max(1, int(tokens * share))),
        packed=tokens > longest,
        learns=Learns(base=False),
        on_gpu=model.on_gpu,
        checkpointing=experiment.engine.gradient_checkpointing,
    )


def _learns(shape: RoleShape, experiment: Experiment) -> Learns:
    lora = experiment.peft.method == "lora"
    return Learns(base=not lora, adapter_rank=experiment.peft.rank if lora else 0)


def _with_writing(memory: RoleMemory, experiment: Experiment, device: Device) -> RoleMemory:
    """Add the bytes that generation needs beside the role's own weights."""
    ppo, model, model_shape = experiment.ppo, memory.model, memory.shape.model_shape
    copy = model.number_bytes * model.num_weights if model.stage == 3 else 0.0
    rows = rows_a_rank(ppo.rollout_batch_size * ppo.samples_per_prompt, model.ranks)
    wanted = min(rows, experiment.generation.batch_size)
    numbers = 2 * model_shape.num_layers * model_shape.key_width * longest_row(experiment)
    free = device.memory - memory.resting - copy
    slots = max(1, min(wanted, int(SHARE * max(free, 0.0) / (numbers * BYTES_A_NUMBER))))
    spare = free / model.ranks - slots * numbers * BYTES_A_NUMBER
    return replace(
        memory,
        copy=copy,
        num_slots=slots,
        cache=slots * numbers * model.number_bytes,
        arranged=arranged_bytes(model_shape, model, spare),
        writing=writing_bytes(model_shape, model, experiment, slots),
    )


def _kept(model: Model) -> float:
    """Return the bytes of a checkpoint on rank 0's host: trainable weights and moments, fp32."""
    return 3 * FP32 * model.num_trainable
