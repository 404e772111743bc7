"""Step traces: which rank worked when in a step; its figures, its line in RUN/timeline.jsonl."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeAlias, cast, get_args

from rlhf.observe import files
from rlhf.observe.numbers import finite

Phase: TypeAlias = Literal["generate", "score", "learn", "turn"]
PHASES: Final = get_args(Phase)
"""The phases of a step, the earlier first; turn: offload and onload of colocated roles."""
_PHASES_BEFORE: Final[dict[str, Phase]] = {
    "generate": "generate",
    "step_rows": "score",
    "reference_rows": "score",
    "values": "score",
    "score_by_model": "score",
    "score_by_function": "score",
    "improve": "learn",
    "imitate": "learn",
    "rank": "learn",
    "park": "turn",
    "wake": "turn",
}
"""Phase of each method in timelines of earlier releases, whose spans have no phase."""
ALL_UP_TO: Final = 20
"""Steps of a stage that are all kept; then every tenth, from 1,000 on every hundredth, ..."""


@dataclass(frozen=True, slots=True)
class Span:
    """One call of one rank, in seconds: since the epoch, or since its step trace began."""

    role: str
    rank: int
    method: str
    start: float
    end: float
    phase: Phase | None = None
    """The phase of the step that it counts to; None for none, such as saving."""


@dataclass(frozen=True, slots=True)
class StepTrace:
    """The spans of one step, and its seconds."""

    seconds: float
    """How long it took."""
    spans: tuple[Span, ...] = ()
    """Calls that ended in it, since its start."""

    def figures(self) -> dict[str, float]:
        """Return time/PHASE_s, busy/ROLE_s and idle/ROLE.

        A phase lasts as long as any of its calls runs, so roles that work at the same time count
        once, and the time between calls of time-sharing roles does not count. A moment of two
        phases counts to the earlier one: scoring counts only where nothing is generated.
        """
        times: dict[str, float] = {}
        before: list[Span] = []
        for phase in PHASES:
            calls = [span for span in self.spans if span.phase == phase]
            if calls:
                times[f"time/{phase}_s"] = _covered([*before, *calls]) - _covered(before)
                before += calls
        busy = {f"busy/{role}_s": seconds for role, seconds in self.busy().items()}
        return {**times, **busy, **{f"idle/{r}": share for r, share in self.idle().items()}}

    def busy(self) -> dict[str, float]:
        """Return seconds of work by role, summed over its ranks."""
        seconds: dict[str, float] = defaultdict(float)
        for span in self.spans:
            seconds[span.role] += span.end - span.start
        return dict(seconds)

    def idle(self) -> dict[str, float]:
        """Return the share of the step in which a role's ranks had nothing to do, by role.

        Every call goes to all ranks of a role, so the ranks that were seen are all there are.
        """
        ranks: dict[str, set[int]] = defaultdict(set)
        for span in self.spans:
            ranks[span.role].add(span.rank)
        return {
            role: max(0.0, 1 - seconds / (len(ranks[role]) * self.seconds)) if self.seconds else 0.0
            for role, seconds in self.busy().items()
        }

    def nobody(self) -> float:
        """Return the share of the step in which no rank of any role worked."""
        inside = [
            replace(s, start=max(s.start, 0.0), end=min(s.end, self.seconds)) for s in self.spans
        ]
        return max(0.0, 1 - _covered(inside) / self.seconds) if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class KeptTrace:
    """A step trace as read from RUN/timeline.jsonl."""

    stage: str
    step: int
    trace: StepTrace


def trace_of(spans: Iterable[Span], began: float, seconds: float) -> StepTrace:
    """Return the step trace that began at a moment, from spans since the epoch."""
    return StepTrace(
        seconds,
        tuple(replace(span, start=span.start - began, end=span.end - began) for span in spans),
    )


def _covered(spans: Iterable[Span]) -> float:
    """Return the seconds in which at least one span runs."""
    done, seconds = -math.inf, 0.0
    for span in sorted(spans, key=lambda span: span.start):
        seconds += max(0.0, span.end - max(done, span.start))
        done = max(done, span.end)
    return seconds


def is_kept(step: int) -> bool:
    """Return whether a step's trace is written: all of the first 20, then fewer and fewer.

    20 steps show how a run starts, the rest how it goes on; a decade of steps adds at most 98
    lines, so the file stays small however long the run, and a resume keeps the same steps.
    """
    return step < ALL_UP_TO or step % 10 ** max(1, len(str(step)) - 2) == 0


def append_trace(run_dir: Path, kept: KeptTrace) -> None:
    """Write one line: stage, step, seconds, and [role, rank, method, start, end, phase] a span.

    Raises:
        OSError: when the disk refuses.
    """
    spans = [
        [s.role, s.rank, s.method, round(s.start, 4), round(s.end, 4), s.phase]
        for s in kept.trace.spans
    ]
    row = {"stage": kept.stage, "step": kept.step, "seconds": round(kept.trace.seconds, 4)}
    files.append_rows(run_dir / files.TIMELINE, [{**row, "spans": spans}])


def read_traces(run_dir: Path) -> list[KeptTrace]:
    """Return the step traces of a run in the order written; damaged lines are left out."""
    rows = files.read_rows(run_dir / files.TIMELINE)
    return [kept for row in rows if (kept := _kept(row)) is not None]


def _kept(row: files.Row) -> KeptTrace | None:
    step, seconds, found = finite(row.get("step")), finite(row.get("seconds")), row.get("spans")
    if step is None or seconds is None or seconds <= 0 or not isinstance(found, list):
        return None
    spans = [span for entry in cast("list[object]", found) if (span := _span(entry)) is not None]
    return KeptTrace(str(row.get("stage")), int(step), StepTrace(seconds, tuple(spans)))


def _span(entry: object) -> Span | None:
    fields = cast("list[object]", entry) if isinstance(entry, list) else []
    if len(fields) not in (5, 6):
        return None
    rank, start, end = (finite(fields[at]) for at in (1, 3, 4))
    if rank is None or start is None or end is None or end < start:
        return None
    method = str(fields[2])
    phase = fields[5] if len(fields) == 6 else _PHASES_BEFORE.get(method)
    known = cast("Phase", phase) if phase in PHASES else None
    return Span(str(fields[0]), int(rank), method, start, end, known)
