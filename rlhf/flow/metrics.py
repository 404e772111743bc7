"""Metrics: named means that merge exactly over micro-batches, minibatches and ranks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Metrics:
    """Named (sum, count) pairs; the value of a name is sum / count."""

    totals: Mapping[str, tuple[float, float]] = field(
        default_factory=dict[str, tuple[float, float]]
    )

    @classmethod
    def of(cls, values: Mapping[str, float], count: float = 1.0) -> Metrics:
        """Record means that each stand for `count` observations."""
        return cls({name: (float(value) * count, count) for name, value in values.items()})

    @classmethod
    def sums(cls, values: Mapping[str, float], count: float) -> Metrics:
        """Record sums over `count` observations."""
        return cls({name: (float(value), count) for name, value in values.items()})

    @classmethod
    def merge(cls, parts: Iterable[Metrics]) -> Metrics:
        """Add up sums and counts."""
        totals: dict[str, tuple[float, float]] = {}
        for part in parts:
            for name, (value, count) in part.totals.items():
                old_value, old_count = totals.get(name, (0.0, 0.0))
                totals[name] = (old_value + value, old_count + count)
        return cls(totals)

    def __getitem__(self, name: str) -> float:
        """Return the mean of one metric; 0 when nothing was counted."""
        value, count = self.totals[name]
        return value / count if count else 0.0

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self.totals)

    def means(self) -> dict[str, float]:
        """Return every mean by name."""
        return {name: self[name] for name in self.totals}
