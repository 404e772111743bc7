"""Memory: how much of a device is free, and whether a copy of whole weights fits in it."""

from __future__ import annotations

import psutil
import torch

from rlhf.errors import ModelError

SHARE = 0.9
"""Share of the free memory that may be allocated."""


def free_bytes(device: str) -> int:
    """Return the bytes that can still be allocated on a device (cpu or cuda)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    return psutil.virtual_memory().available


def dtype_that_fits(num_weights: int, dtype: torch.dtype, free: int) -> torch.dtype:
    """Return the dtype in which a copy of all weights fits: their own, else bfloat16.

    Args:
        num_weights: Weights of the whole model.
        dtype: The weights' dtype.
        free: Free bytes.

    Raises:
        ModelError: when not even bfloat16 fits.
    """
    budget = SHARE * free
    if num_weights * dtype.itemsize <= budget:
        return dtype
    if num_weights * torch.bfloat16.itemsize <= budget:
        return torch.bfloat16
    raise ModelError(
        f"generation needs the {num_weights:,} weights whole on each rank, "
        f"{num_weights * 2 / 2**30:.1f} GiB in bf16, and {free / 2**30:.1f} GiB are free; use "
        "fewer ranks a device, a device with more memory, or engine.zero_stage=2 or lower"
    )
