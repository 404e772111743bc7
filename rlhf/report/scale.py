"""Scale: data to pixels, with round tick values and labels that share their decimals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from rlhf.observe.numbers import short

LARGEST: Final = 1e300
"""What is drawn of larger numbers: sums and differences of such ones are still numbers."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from [low, high] of the data to [start, end] of the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the picture's coordinate of a value, clamped to the picture."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, target: int = 4) -> list[float]:
        """Return about `target` round values within the range."""
        step = round_step((self.high - self.low) / target)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [at * step for at in range(first, last + 1)]


def round_step(rough: float) -> float:
    """Return the nearest 1, 2, 2.5 or 5 times a power of ten that is not below `rough`."""
    base = 10.0 ** math.floor(math.log10(rough))
    return next(
        factor * base for factor in (1, 2, 2.5, 5, 10) if factor * base >= rough * (1 - 1e-9)
    )


def span(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    """Return a range that holds all values with a little air; from 0 on when `zero` is set."""
    low, high = max(min(values), -LARGEST), min(max(values), LARGEST)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    if high - low < 1e-9 * max(1.0, abs(high)):
        pad = 0.5 * abs(high) or 1.0
        return (low if zero and low == 0 else low - pad), high + pad
    air = 0.06 * (high - low)
    return (low if zero and low == 0 else low - air), high + air


def along(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of a horizontal axis: from the first value to the last, never empty."""
    low, high = min(values), max(values)
    return low, high if high - low > 1e-9 * abs(high) else low + max(1.0, 1e-6 * abs(low))


def tick_labels(ticks: Sequence[float], *, percent: bool = False) -> list[str]:
    """Return tick values as text, with as many decimals as their distance needs."""
    if percent:
        return [f"{label}\u00a0%" for label in tick_labels([100 * tick for tick in ticks])]
    step = min((b - a for a, b in pairwise(ticks)), default=1.0)
    if step < 1e-4 or step >= 1e6:
        return [short(tick, 2) for tick in ticks]
    decimals = next((d for d in range(6) if abs(round(step, d) - step) < 1e-9 * step), 6)
    return [f"{tick + 0.0:,.{decimals}f}".replace("-", "\u2212") for tick in ticks]
