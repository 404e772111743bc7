"""The learning rate of each optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return 1.0 - progress


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


_CURVES: dict[Schedule, Callable[[float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
}


def learning_rate(
    step: int, *, lr: float, warmup_steps: int, schedule: Schedule, total_steps: int
) -> float:
    """Return the rate of optimizer step `step`, counted from 0.

    Warm-up rises by lr / warmup_steps a step and reaches lr at its last one. Linear and cosine
    (Loshchilov & Hutter 2017, eq. 5) start from lr right after it and reach 0 at total_steps,
    the step after the last, so that every step learns something. Beyond that the rate stays 0.

    Args:
        step: Optimizer steps already taken.
        lr: Peak rate.
        warmup_steps: Steps of warm-up; 0 for none.
        schedule: The curve after warm-up.
        total_steps: Optimizer steps of the whole stage.
    """
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return lr * _CURVES[schedule](min(1.0, progress))
