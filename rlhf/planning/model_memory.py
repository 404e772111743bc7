"""Model memory: bytes one rank keeps of a model between calls and in learning, by ZeRO stage.

P weights, of which L learn; N ranks; b bytes a number. What DeepSpeed really allocates, its flat
copies and buckets included, is in docs/planning.md; tests hold these formulas against real ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FP32 = 4
MOMENTS = 2 * FP32
"""Bytes of AdamW's two moments a weight."""
LIVE = 1_000_000_000
"""Gathered numbers that stage 3 keeps, at most (stage3_max_live_parameters)."""
AHEAD = 50_000_000
"""Numbers that stage 3 gathers in one exchange, at most (stage3_prefetch_bucket_size)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model's weights, and how one role shards and stores them."""

    num_weights: int
    num_trainable: int
    largest_weight: int
    """Numbers in the largest tensor."""
    ranks: int
    stage: int
    """As DeepSpeed gets it; 0 for plain torch."""
    number_bytes: int
    """2 in bf16, 4 in fp32."""
    offload: Literal["none", "optimizer", "weights"] = "none"
    bucket: int = 0
    """Numbers of DeepSpeed's gradient bucket (reduce_bucket_size)."""
    on_gpu: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelMemory:
    """Bytes of one rank, on the device unless said otherwise."""

    weights: float = 0
    optimizer: float = 0
    """fp32 weights and moments."""
    gradients: float = 0
    """From the first backward pass of an update to its end, some of them always."""
    always_gradients: float = 0
    """The gradients that stay between updates."""
    buckets: float = 0
    """What gradients are gathered in, while an update lasts."""
    always_buckets: float = 0
    """The buckets that stay between updates."""
    gathered: float = 0
    """Whole weights of stage 3 during a forward or backward pass."""
    gathering: float = 0
    """Where shards arrive from other ranks, before they are put together."""
    stepping: float = 0
    """Temporary tensors of the optimizer step."""
    host: float = 0
    """In host memory, by offload."""

    @property
    def resting(self) -> float:
        """Bytes on the device between calls."""
        return self.weights + self.optimizer + self.always_gradients + self.always_buckets

    @property
    def learning(self) -> float:
        """Bytes on the device while gradients are there, without activations."""
        return self.weights + self.optimizer + self.gradients + self.buckets


def model_memory(model: Model) -> ModelMemory:
    """Return the bytes of a model's weights and training state on one rank."""
    if not model.num_trainable:
        return _frozen(model)
    if model.stage == 0:
        return _replicated(model)
    if model.stage == 1 and model.number_bytes == 2 and model.offload == "none":
        return _bf16_stage_1(model)
    return _sharded(model)


def _frozen(model: Model) -> ModelMemory:
    size, ranks = model.number_bytes, model.ranks
    if model.stage < 3:
        return ModelMemory(weights=size * model.num_weights)
    shard = size * model.num_weights / ranks
    on_host = model.offload == "weights"
    return ModelMemory(
        weights=0 if on_host else shard,
        gathered=_gathered(model),
        gathering=_gathering(model),
        host=shard if on_host else 0,
    )


def _replicated(model: Model) -> ModelMemory:
    """Stage 0: everything on every rank, in fp32; gradients go when an update ends."""
    trainable = model.num_trainable
    temporary = FP32 * trainable if model.on_gpu else 2 * FP32 * model.largest_weight
    return ModelMemory(
        weights=FP32 * model.num_weights,
        optimizer=MOMENTS * trainable,
        gradients=FP32 * trainable,
        stepping=temporary,
    )


def _bf16_stage_1(model: Model) -> ModelMemory:
    """Stage 1 in bf16: sums of gradients whole and in fp32, fp32 weights and moments sharded.

    DeepSpeed keeps the bf16 gradients of a microbatch too, until its backward pass is over.
    """
    trainable, share = model.num_trainable, model.num_trainable / model.ranks
    sums, fresh = FP32 * trainable, model.number_bytes * trainable
    return ModelMemory(
        weights=model.number_bytes * model.num_weights,
        optimizer=(FP32 + MOMENTS) * share,
        gradients=sums + fresh,
        always_gradients=sums,
        stepping=_adamw(model, share),
    )


def _sharded(model: Model) -> ModelMemory:
    """Stages 1 to 3 with flat fp32 shards and a bucket that gradients are reduced in."""
    size, trainable = model.number_bytes, model.num_trainable
    share = trainable / model.ranks
    whole = model.stage < 3
    weights = size * (model.num_weights if whole else model.num_weights / model.ranks)
    gradients = FP32 * (trainable if model.stage == 1 else share)
    optimizer = (FP32 + MOMENTS) * share
    bucket = model.bucket * (FP32 if model.stage == 1 else size)
    stays = not whole
    if model.offload == "none":
        return ModelMemory(
            weights=weights,
            optimizer=optimizer,
            gradients=gradients,
            always_gradients=gradients if stays else 0,
            buckets=bucket,
            always_buckets=bucket if stays else 0,
            gathered=0 if whole else _gathered(model),
            gathering=0 if whole else _gathering(model),
            stepping=FP32 * share + _adamw(model, share),
        )
    on_host = model.offload == "weights"
    return ModelMemory(
        weights=0 if on_host else weights,
        gradients=size * model.largest_weight,
        buckets=bucket,
        always_buckets=bucket if stays else 0,
        gathered=0 if whole else _gathered(model),
        gathering=0 if whole else _gathering(model),
        host=optimizer + gradients + size * share + (weights if on_host else 0),
    )


def _gathered(model: Model) -> float:
    if model.ranks == 1 and model.offload != "weights":
        return 0
    return model.number_bytes * min(model.num_weights, LIVE)


def _gathering(model: Model) -> float:
    return model.number_bytes * min(model.num_weights, AHEAD) if model.ranks > 1 else 0


def _adamw(model: Model, numbers: float) -> float:
    """Return AdamW's temporaries over one flat shard: one copy on a GPU, two on a CPU."""
    return (1 if model.on_gpu else 2) * FP32 * numbers
