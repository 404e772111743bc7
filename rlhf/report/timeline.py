"""The picture of one step: a track a role, a thin one for each rank where there are several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from rlhf.catalog.stages import PPO
from rlhf.observe.numbers import duration, percent, short
from rlhf.observe.spans import PHASES, KeptTrace, Span, StepTrace
from rlhf.report.html import Markup, el, join
from rlhf.report.read import RunFiles
from rlhf.report.scale import Scale, tick_labels
from rlhf.report.stack import tone_of

ROLES: Final = ("policy", "reference", "reward", "value")
STAGE: Final = PPO.name
LAST: Final = 11
"""Recorded steps of which the median is drawn."""
MOST_RANKS: Final = 8
"""Most tracks a role; further ranks are counted, not drawn."""
WIDE, THIN = 18, 7
"""Height of a track: of a role of one rank, of one rank of many."""
HEAD, GAP, FOOT = 20, 3, 26
"""Height of a role's name, of the space between tracks, of the axis."""
LEAST_WIDTH: Final = 0.3
"""Percent of the picture that even the shortest call fills."""


@dataclass(frozen=True, slots=True)
class Track:
    """One rank's calls of the step."""

    role: str
    rank: int
    spans: tuple[Span, ...]
    """In the order they began."""


def timeline_section(run: RunFiles) -> Markup | None:
    """Return the section; None when the run kept no step of PPO with its calls."""
    recent = [kept for kept in run.traces if kept.stage == STAGE and kept.trace.spans][-LAST:]
    if not recent:
        return None
    kept = median_trace(recent)
    return join(
        [
            el("h2", "Who works when"),
            el("p", who_limits(kept.trace)),
            _figure(kept, len(recent)),
        ]
    )


def median_trace(traces: Sequence[KeptTrace]) -> KeptTrace:
    """Return the step trace of median length."""
    return sorted(traces, key=lambda kept: kept.trace.seconds)[(len(traces) - 1) // 2]


def tracks(spans: Iterable[Span]) -> dict[str, list[Track]]:
    """Return the tracks of each role in rank order; the roles in the order of the documents."""
    ordered = sorted(spans, key=lambda span: (_place(span.role), span.role, span.rank, span.start))
    grouped: dict[str, list[Track]] = {}
    for (role, rank), calls in groupby(ordered, key=lambda span: (span.role, span.rank)):
        grouped.setdefault(role, []).append(Track(role, rank, tuple(calls)))
    return grouped


def who_limits(trace: StepTrace) -> str:
    """Return one sentence: the role that limits the step, and how idle the others are."""
    idle = trace.idle()
    limit, *others = sorted(idle, key=lambda role: (idle[role], _place(role), role))
    others.sort(key=lambda role: (_place(role), role))
    whole = duration(trace.seconds) if trace.seconds >= 10 else f"{short(trace.seconds, 2)} s"
    took = f"{percent(1 - idle[limit])} of its {whole}"
    if not others:
        first = f"The {limit} is the only role in the step, busy for {took}"
    elif works_together(trace.spans):
        rest = _listed([f"the {role} for {percent(idle[role])}" for role in others])
        first = f"The {limit} limits the step, busy for {took}; idle is {rest}"
    else:
        rest = _listed([f"the {role} for {percent(1 - idle[role])}" for role in others])
        first = f"The roles take turns in the step: the {limit} works for {took}, {rest}"
    nobody = trace.nobody()
    return f"{first}; for {percent(nobody)} no role works." if nobody >= 0.01 else f"{first}."


def works_together(spans: Iterable[Span]) -> bool:
    """Return whether two roles were ever busy at the same moment."""
    ends: dict[str, float] = {}
    for span in sorted(spans, key=lambda span: span.start):
        if any(end > span.start for role, end in ends.items() if role != span.role):
            return True
        ends[span.role] = max(span.end, ends.get(span.role, 0.0))
    return False


def _place(role: str) -> int:
    return ROLES.index(role) if role in ROLES else len(ROLES)


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _figure(kept: KeptTrace, num_recent: int) -> Markup:
    grouped = tracks(kept.trace.spans)
    x = Scale(0.0, kept.trace.seconds, 0.0, 100.0)
    parts: list[Markup] = []
    at = 0.0
    for role, role_tracks in grouped.items():
        drawn, at = _role(role_tracks, kept.trace.idle()[role], x, at)
        parts.append(drawn)
    svg = el(
        "svg",
        el("title", f"Step {kept.step} of PPO", id="timeline-title"),
        el("desc", _describe(grouped), id="timeline-desc"),
        _axis(x, at),
        *parts,
        role="img",
        aria_labelledby="timeline-title timeline-desc",
        style=f"height:{at + FOOT:.0f}px",
    )
    which = f", the median of the last {num_recent} recorded" if num_recent > 1 else ""
    caption = el(
        "figcaption",
        el("b", f"Step {kept.step}"),
        el("span", f"in seconds{which}"),
        _legend(kept.trace),
    )
    return el("figure", caption, svg, class_="chart lanes")


def _legend(trace: StepTrace) -> Markup:
    seen = {span.phase or "other" for span in trace.spans}
    shown = [phase for phase in (*PHASES, "other") if phase in seen]
    entries = [el("span", el("i", class_=tone_of(phase)), phase) for phase in shown]
    return el("span", *entries, el("span", el("i", class_="free"), "idle"), class_="legend")


def _role(role_tracks: Sequence[Track], idle: float, x: Scale, top: float) -> tuple[Markup, float]:
    """Return a role's name, idle share and tracks, and where the next role begins."""
    shown, count = role_tracks[:MOST_RANKS], len(role_tracks)
    height = WIDE if count == 1 else THIN
    ranks = f", {count} ranks" if count > 1 else ""
    some = f" (first {MOST_RANKS} drawn)" if count > MOST_RANKS else ""
    base = top + HEAD - 6
    parts = [
        el("text", f"{role_tracks[0].role}{ranks}{some}", x="0", y=base, class_="role halo"),
        el("text", f"{percent(idle)} idle", x="100%", y=base, class_="tick end halo"),
    ]
    at = top + HEAD
    for track in shown:
        parts.append(el("rect", x="0", y=at, width="100%", height=float(height), class_="free"))
        parts += [_bar(span, x, at, height) for span in track.spans]
        at += height + GAP
    return join(parts), at + 4


def _bar(span: Span, x: Scale, top: float, height: int) -> Markup:
    """Return one call as a bar, whose tooltip names it."""
    left = min(x(span.start), 100 - LEAST_WIDTH)
    width = max(x(span.end) - left, LEAST_WIDTH)
    tone = tone_of(span.phase or "other")
    who = f"{span.role}, rank {span.rank}: {span.method}, {_moments(span)}"
    return el(
        "rect",
        el("title", who),
        x=f"{left:.2f}%",
        y=top,
        width=f"{width:.2f}%",
        height=float(height),
        class_=f"area {tone}",
    )


def _axis(x: Scale, bottom: float) -> Markup:
    ticks = x.ticks(5)
    parts: list[Markup] = []
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        at, side = f"{x(tick):.2f}%", "mid"
        if x(tick) < 2 or x(tick) > 98:
            side = "" if x(tick) < 2 else "end"
        parts.append(el("line", x1=at, x2=at, y1=float(HEAD), y2=bottom, class_="grid"))
        parts.append(el("text", label, x=at, y=bottom + 16, class_=f"tick {side}".strip()))
    return join(parts)


def _describe(grouped: dict[str, list[Track]]) -> str:
    """Return every role's calls in words, by its first rank."""
    sentences = [
        f"{role} ({len(ranks)} {'rank' if len(ranks) == 1 else 'ranks'}): "
        + ", ".join(f"{span.method} {_moments(span)}" for span in ranks[0].spans)
        + "."
        for role, ranks in grouped.items()
    ]
    return " ".join(sentences)


def _moments(span: Span) -> str:
    return f"{short(max(0.0, span.start))} to {short(span.end)}\u00a0s"
