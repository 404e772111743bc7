"""EngineConfig -> the DeepSpeed dictionary: a pure function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from rlhf.config.cluster import Offload
from rlhf.config.engine import EngineConfig

MOST_BUCKET_WEIGHTS = 500_000_000
"""Most gradients of one reduction; DeepSpeed's default."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """How one role's model is sharded, offloaded and updated."""

    stage: int
    """ZeRO stage; at 0 nothing of `zero_optimization` counts."""
    offload: Offload = "none"
    """What waits in host memory."""
    world_size: int = 1
    device: str = "cpu"
    """cpu or cuda."""
    max_grad_norm: float = 0.0
    """0 does not clip."""
    num_weights: int = 0
    """Number of trainable weights."""


def zero_config(config: EngineConfig, holding: Holding) -> dict[str, Any]:
    """Return the settings of one role's DeepSpeed engine, the user's raw ones laid over ours.

    Gradient accumulation is ours (`managed_gradient_accumulation` off): micro-batches are cut by
    tokens, so their number differs from step to step. Stage 3 keeps a buffer of the bucket's size
    on the device for good, so the bucket is no larger than the weights that learn.
    """
    stage = holding.stage
    bf16 = config.precision == "bf16"
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": holding.world_size,
        "managed_gradient_accumulation": False,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "gradient_clipping": holding.max_grad_norm,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        "bf16": {"enabled": bf16},
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "reduce_bucket_size": bucket_size(holding.num_weights),
        },
    }
    if bf16:
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    if stage == 3:
        settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    settings["zero_optimization"].update(_offloaded(holding))
    settings = laid_over(settings, config.deepspeed)
    if stage == 0:
        settings["zero_optimization"] = {"stage": 0}
    return settings


def laid_over(settings: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the raw ones in their place; sections are merged, key by key."""
    merged = dict(settings)
    for key, value in raw.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = laid_over(cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value))
        merged[key] = value
    return merged


def _offloaded(holding: Holding) -> dict[str, Any]:
    """Return DeepSpeed's settings of what is offloaded to host memory; pinned with a GPU."""
    host = {"device": "cpu", "pin_memory": holding.device == "cuda"}
    offload: dict[str, Any] = {}
    if holding.offload != "none" and holding.stage:
        offload["offload_optimizer"] = dict(host)
    if holding.offload == "weights" and holding.stage == 3:
        offload["offload_param"] = dict(host)
    return offload


def bucket_size(num_weights: int) -> int:
    """Return how many gradients are reduced at a time, given the number of trainable weights."""
    return max(1, min(MOST_BUCKET_WEIGHTS, num_weights))
