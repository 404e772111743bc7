"""Timeline: when each rank of each role was busy, on one clock, the driver's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace

from rlhf.observe.spans import Span


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call of one rank; times in seconds since the epoch."""

    span: Span
    """By the worker's clock."""
    asked: float
    """When the driver asked, by its clock."""
    answered: float
    """When the driver had the answer, by its clock."""


@dataclass(slots=True)
class Timeline:
    """Collects calls until they are drained, once a step."""

    calls: list[Call] = field(default_factory=list[Call])

    def add(self, call: Call) -> None:
        """Record one call."""
        self.calls.append(call)

    def drain(self) -> list[Span]:
        """Return the spans on the driver's clock, and clear them.

        Clocks of other nodes may differ. No work begins before it was requested or ends after its
        answer arrived, so the calls of a rank bound how far its clock is off; its spans move by
        the least that keeps every one of them within its bounds. On one node that is 0.
        """
        calls, self.calls = self.calls, []
        by_rank: dict[tuple[str, int], list[Call]] = defaultdict(list)
        for call in calls:
            by_rank[call.span.role, call.span.rank].append(call)
        shifts = {rank: _shift(made) for rank, made in by_rank.items()}
        return [_moved(call.span, shifts[call.span.role, call.span.rank]) for call in calls]


def _shift(calls: list[Call]) -> float:
    """Return the seconds to add to a rank's clock."""
    least = max(call.asked - call.span.start for call in calls)
    most = min(call.answered - call.span.end for call in calls)
    return min(max(0.0, least), most)


def _moved(span: Span, seconds: float) -> Span:
    return replace(span, start=span.start + seconds, end=span.end + seconds)
