"""Which raw DeepSpeed settings (engine.deepspeed) may be laid over the project's own.

Refused are those that the project decides itself, with the setting to use instead, and sections
that would change nothing here. DeepSpeed itself checks the value of a key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, cast

_BATCH = "engine.max_tokens_per_microbatch and the minibatch sizes of the stages"
_OFFLOAD = "cluster.ROLE.offload"
_TRACKING = "tracking.wandb or tracking.tensorboard"
_NOT_OFFERED = "nothing: it is not offered (docs/zero.md says why)"
DECIDED: dict[str, str] = {
    "train_batch_size": _BATCH,
    "train_micro_batch_size_per_gpu": _BATCH,
    "gradient_accumulation_steps": _BATCH,
    "managed_gradient_accumulation": _BATCH,
    "gradient_clipping": "ROLE.optimizer.max_grad_norm",
    "gradient_allreduce_op": "nothing: gradients are sums over ranks",
    "bf16.enabled": "engine.precision",
    "fp16": "engine.precision",
    "amp": "engine.precision",
    "torch_autocast": "engine.precision",
    "optimizer": "ROLE.optimizer",
    "scheduler": "ROLE.optimizer.schedule",
    "zero_allow_untested_optimizer": "ROLE.optimizer",
    "zero_force_ds_cpu_optimizer": "ROLE.optimizer",
    "activation_checkpointing": "engine.gradient_checkpointing",
    "checkpoint": "checkpoint.every",
    "tensorboard": _TRACKING,
    "wandb": _TRACKING,
    "csv_monitor": _TRACKING,
    "comet": _TRACKING,
    "tensor_parallel": _NOT_OFFERED,
    "zero_optimization.stage": "engine.zero_stage or cluster.ROLE.zero_stage",
    "zero_optimization.cpu_offload": _OFFLOAD,
    "zero_optimization.cpu_offload_param": _OFFLOAD,
    "zero_optimization.offload_optimizer.device": _OFFLOAD,
    "zero_optimization.offload_optimizer.nvme_path": _OFFLOAD,
    "zero_optimization.offload_optimizer.super_offload": _OFFLOAD,
    "zero_optimization.offload_param.device": _OFFLOAD,
    "zero_optimization.offload_param.nvme_path": _OFFLOAD,
    "zero_optimization.compute_grad_norm": "nothing: the norm is a metric, and clips",
    "zero_optimization.zenflow": _NOT_OFFERED,
    "zero_optimization.zero_quantized_weights": _NOT_OFFERED,
    "zero_optimization.zero_quantized_nontrainable_weights": _NOT_OFFERED,
    "zero_optimization.zero_quantized_gradients": _NOT_OFFERED,
}
"""Dotted key to what to use instead; what lies below a key is refused with it."""
SECTIONS = (
    "bf16",
    "communication_data_type",
    "data_types",
    "gradient_predivide_factor",
    "prescale_gradients",
    "zero_optimization",
)
"""Top-level keys that change something in an engine of ours."""


def raw_checks(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield one message for every raw key that may not be set, with its dotted path."""
    for path, value in leaves(raw):
        instead = [use for key, use in DECIDED.items() if f"{path}.".startswith(f"{key}.")]
        top = path.partition(".")[0]
        if instead:
            yield f"engine.deepspeed.{path}={value} is decided elsewhere; use {instead[0]}"
        elif top not in SECTIONS:
            near = difflib.get_close_matches(top, SECTIONS, n=1, cutoff=0.6)
            yield (
                f"engine.deepspeed.{path}={value} has no effect here; "
                + (f"nearest: {near[0]}" if near else f"legal: {', '.join(SECTIONS)}")
            )


def leaves(raw: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of every value in nested mappings; an empty mapping is one."""
    for key, value in raw.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(cast("Mapping[str, Any]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
