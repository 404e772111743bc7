"""The frontier of a sweep: every trial's score against its KL, and the line none is beyond."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rlhf.observe.numbers import nats, short
from rlhf.report.chart import LETTER, axes
from rlhf.report.html import Markup, el
from rlhf.report.scale import Scale, span, tick_labels
from rlhf.sweeps.table import Trial, pareto

WIDTH: Final = 760
HEIGHT: Final = 380
TOP, BOTTOM, RIGHT = 26, 40, 30
NEAR: Final = 18
"""Pictures' units below which the numbers of two dots would touch."""
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
    named = front if len(placed) > MOST_NAMED else trials
    dots = [_dot(trial, (x(kl), y(score)), on=trial in front) for _, trial, kl, score in placed]
    numbers = _numbers([(place, x(kl), y(score)) for place, t, kl, score in placed if t in named])
    svg = el(
        "svg",
        el("title", "Score against KL", id="front-title"),
        el("desc", _describe(trials, front), id="front-desc"),
        axes(x, y, count=6),
        el("text", "KL, nats a response", x=x.end, y=y.start + 33, class_="tick end unit"),
        el("text", "score", x=x.start, y=12, class_="tick unit"),
        el("path", d=_stairs(corners, x, y), class_="main a") if len(corners) > 1 else None,
        *dots,
        *numbers,
        viewbox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby="front-title front-desc",
    )
    return el("figure", svg, class_="chart front")


def _dot(trial: Trial, at: tuple[float, float], *, on: bool) -> Markup:
    """Return a trial's mark: coloured on the frontier, grey behind it, a ring when broken off."""
    name = el("title", f"{trial.end.name}: KL {nats(trial.figures.kl)}")
    kind = ("dot a" if on else "dot e") if trial.is_sound else "ring"
    return el("circle", name, cx=at[0], cy=at[1], r=5, class_=kind)


def _numbers(dots: Sequence[tuple[int, float, float]]) -> list[Markup]:
    """Return the numbers left above their dots; those of dots that touch stand on one line."""
    groups: list[list[tuple[int, float, float]]] = []
    for dot in sorted(dots, key=lambda dot: dot[1]):
        near = next((g for g in groups if _touch(g[-1], dot)), None)
        if near is None:
            groups.append([dot])
        else:
            near.append(dot)
    return [
        el(
            "text",
            ", ".join(str(place) for place, _, _ in sorted(group)),
            x=min(px for _, px, _ in group) - 7,
            y=min(py for _, _, py in group) - 8,
            class_="value halo end",
        )
        for group in groups
    ]


def _touch(one: tuple[int, float, float], other: tuple[int, float, float]) -> bool:
    return abs(one[1] - other[1]) < NEAR and abs(one[2] - other[2]) < NEAR


def _stairs(corners: Sequence[tuple[float, float]], x: Scale, y: Scale) -> str:
    """Return the border of what is reachable: a higher score only at the KL of the next trial."""
    steps = [f"M{x(corners[0][0]):.1f},{y(corners[0][1]):.1f}"]
    steps += [f"H{x(kl):.1f}V{y(score):.1f}" for _, (kl, score) in pairwise(corners)]
    return "".join(steps)


def _describe(trials: Sequence[Trial], front: Sequence[Trial]) -> str:
    named = "; ".join(
        f"trial {trials.index(trial) + 1} with score {short(trial.figures.score)} at KL "
        f"{nats(trial.figures.kl)}"
        for trial in front
    )
    return f"On the frontier: {named}." if named else "No trial has finished."
