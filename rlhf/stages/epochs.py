"""Epochs to optimizer steps."""

from __future__ import annotations

import math
from typing import Any

from rlhf.data.stream import Stream


def num_steps(num_epochs: float, train: Stream[Any]) -> int:
    """Return the optimizer steps of some epochs, rounded up; at least 1."""
    return max(1, math.ceil(num_epochs * train.steps_per_epoch))
