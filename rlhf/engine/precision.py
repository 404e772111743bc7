"""Precision: whether bf16 pays, for a model of some size on a device."""

from __future__ import annotations

import torch

from rlhf.config.engine import EngineConfig

LEAST_WEIGHTS = 5_000_000
"""Smaller models spend their time elsewhere, and are made to be exact."""


def settled(config: EngineConfig, num_weights: int, device: str) -> EngineConfig:
    """Return the settings with `auto` replaced: bf16 for large models where it is fast.

    Args:
        config: Settings as the user gave them.
        num_weights: Weights of the model.
        device: cpu or cuda.
    """
    if config.precision != "auto":
        return config
    precision = "bf16" if why_fp32(num_weights, device) is None else "fp32"
    return config.model_copy(update={"precision": precision})


def why_fp32(num_weights: int, device: str) -> str | None:
    """Return why `auto` is fp32, by size and device alone; None where bf16 may pay.

    Args:
        num_weights: Weights of the model.
        device: cpu or cuda.
    """
    if num_weights < LEAST_WEIGHTS:
        return f"{num_weights:,} weights are few (bf16 pays from {LEAST_WEIGHTS:,} on)"
    return None if multiplies_bf16(device) else f"this {device} has no products of bf16 matrices"


def multiplies_bf16(device: str) -> bool:
    """Return whether a device has instructions for products of bf16 matrices."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
