"""The frontier of a sweep: every trial's score against its KL, and the line none is beyond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rlhf.observe.numbers import short
from rlhf.observe.report.chart import LETTER
from rlhf.observe.report.html import Markup, el, join
from rlhf.observe.report.scale import Scale, span, tick_labels
from rlhf.observe.sweep import Trial, pareto

WIDTH: Final = 760
HEIGHT: Final = 380
TOP, BOTTOM, RIGHT = 26, 40, 30
MOST_NAMED: Final = 24
"""Trials of which each dot carries its number; of more, only those on the frontier do."""


def front_figure(trials: Sequence[Trial]) -> Markup | None:
    """Return the picture; None when no trial has both a score and a KL.

    Args:
        trials: best first; their place is the number at their dot.
    """
    placed = [
        (place, trial, kl, score)
        for place, trial in enumerate(trials, start=1)
        if (kl := trial.figures.kl) is not None and (score := trial.figures.score) is not None
    ]
    if not placed:
        return None
    sound = [(kl, score) for _, trial, kl, score in placed if trial.is_sound]
    seen = sound or [(kl, score) for _, _, kl, score in placed]
    y = Scale(*span([score for _, score in seen]), HEIGHT - BOTTOM, TOP)
    left = 14 + LETTER * max(map(len, tick_labels(y.ticks())), default=1)
    x = Scale(*span([kl for kl, _ in seen], zero=True), left, WIDTH - RIGHT)
    front = pareto(trials)
    corners = [(t.figures.kl or 0.0, t.figures.score or 0.0) for t in front]
    dots = [
        _dot(place, trial, (x(kl), y(score)), is_named=len(placed) <= MOST_NAMED or trial in front)
        for place, trial, kl, score in placed
    ]
    svg = el(
        "svg",
        el("title", "Score against KL", id="front-title"),
        el("desc", _describe(trials, front), id="front-desc"),
        _axes(x, y),
        el("path", d=_stairs(corners, x, y), class_="main a") if len(corners) > 1 else None,
        *dots,
        viewbox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby="front-title front-desc",
    )
    return el("figure", svg, class_="chart front")


def _dot(place: int, trial: Trial, at: tuple[float, float], *, is_named: bool) -> Markup:
    name = el("title", f"{trial.end.name}: KL {short(trial.figures.kl)}")
    kind = "dot a" if trial.is_sound else "ring"
    dot = el("circle", name, cx=at[0], cy=at[1], r=5, class_=kind)
    if not is_named:
        return dot
    return join([dot, el("text", str(place), x=at[0] + 8, y=at[1] - 7, class_="value halo")])


def _stairs(corners: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the border of what is reachable: a higher score only at the KL of the next trial."""
    steps = [f"M{x(corners[0][0]):.1f},{y(corners[0][1]):.1f}"]
    steps += [f"H{x(kl):.1f}V{y(score):.1f}" for _, (kl, score) in pairwise(corners)]
    return "".join(steps)


def _axes(x: Scale, y: Scale) -> Markup:
    parts: list[Markup] = []
    for tick, label in zip(y.ticks(), tick_labels(y.ticks()), strict=True):
        at = y(tick)
        parts.append(el("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        parts.append(el("text", label, x=x.start - 8, y=at + 3.5, class_="tick end"))
    ticks = x.ticks(6)
    for tick, label in zip(ticks, tick_labels(ticks), strict=True):
        parts.append(el("line", x1=x(tick), x2=x(tick), y1=y.start, y2=y.start + 4, class_="axis"))
        parts.append(el("text", label, x=x(tick), y=y.start + 17, class_="tick mid"))
    parts.append(el("line", x1=x.start, x2=x.end, y1=y.start, y2=y.start, class_="axis"))
    parts.append(el("text", "KL, nats a response", x=x.end, y=y.start + 33, class_="tick end unit"))
    parts.append(el("text", "score", x=x.start, y=12, class_="tick unit"))
    return join(parts)


def _describe(trials: Sequence[Trial], front: Sequence[Trial]) -> str:
    named = "; ".join(
        f"trial {trials.index(trial) + 1} with score {short(trial.figures.score)} at KL "
        f"{short(trial.figures.kl)}"
        for trial in front
    )
    return f"On the frontier: {named}." if named else "No trial has finished."
