"""Timeline: when each role was busy, for the step's timing figures and the report's picture."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

PHASES = {
    "generate": "generate",
    "logprobs": "score",
    "reference_logprobs": "score",
    "values": "score",
    "score_by_model": "score",
    "score_by_function": "score",
    "improve": "learn",
    "imitate": "learn",
    "rank": "learn",
}
"""Role method -> phase of a step."""


@dataclass(frozen=True, slots=True)
class Span:
    """One call of one role, in seconds since the epoch, by the worker's clock."""

    role: str
    method: str
    start: float
    end: float


@dataclass(slots=True)
class Timeline:
    """Collects spans until they are drained, once a step."""

    spans: list[Span] = field(default_factory=list[Span])

    def add(self, span: Span) -> None:
        """Keep one span."""
        self.spans.append(span)

    def drain(self) -> dict[str, float]:
        """Return seconds a phase (time/PHASE_s) and seconds busy a role (busy/ROLE_s); forget all.

        A phase lasts from the first start to the last end of its calls, so roles that work at
        the same time count once.
        """
        spans, self.spans = self.spans, []
        phases: dict[str, list[Span]] = defaultdict(list)
        busy: dict[str, float] = defaultdict(float)
        for span in spans:
            busy[f"busy/{span.role}_s"] += span.end - span.start
            if span.method in PHASES:
                phases[PHASES[span.method]].append(span)
        times = {
            f"time/{phase}_s": max(s.end for s in calls) - min(s.start for s in calls)
            for phase, calls in phases.items()
        }
        return {**times, **busy}
