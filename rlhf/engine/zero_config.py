"""EngineConfig -> the DeepSpeed dictionary: a pure function."""

from __future__ import annotations

from typing import Any

from rlhf.config.engine import EngineConfig

MOST_BUCKET_WEIGHTS = 500_000_000
"""Of one reduction, as DeepSpeed has it."""


def zero_config(
    config: EngineConfig, *, stage: int, world_size: int, max_grad_norm: float, num_weights: int
) -> dict[str, Any]:
    """Return the settings of one role's DeepSpeed engine.

    Gradient accumulation is ours (`managed_gradient_accumulation` off): micro-batches are cut by
    tokens, so their number differs from step to step. Stage 3 keeps a buffer of the bucket's size
    on the device for good, so the bucket is no larger than the weights that learn (num_weights).
    """
    bf16 = config.precision == "bf16"
    settings: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "train_batch_size": world_size,
        "managed_gradient_accumulation": False,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "gradient_clipping": max_grad_norm,
        "steps_per_print": None,
        "wall_clock_breakdown": False,
        "bf16": {"enabled": bf16},
        "zero_optimization": {
            "stage": stage,
            "overlap_comm": False,
            "reduce_bucket_size": max(1, min(MOST_BUCKET_WEIGHTS, num_weights)),
        },
    }
    if bf16:
        settings["data_types"] = {"grad_accum_dtype": "fp32"}
    if stage == 3:
        settings["zero_optimization"]["stage3_param_persistence_threshold"] = 0
    return settings
