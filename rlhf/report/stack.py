"""Stacked areas: where the seconds of each PPO step go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rlhf.observe.numbers import duration, percent
from rlhf.report.chart import BOTTOM, HEIGHT, LETTER, TOP, WIDTH, axes, empty_figure, figure
from rlhf.report.html import Markup, el, join
from rlhf.report.read import Points
from rlhf.report.scale import Scale, along, span, tick_labels
from rlhf.report.trace import drawable, path, smooth, thin

TONES: Final = {"generate": "a", "score": "b", "learn": "c", "other": "e"}
"""Colour of a phase, the same in every picture of the page."""
MOST_PHASES: Final = 4
"""Phases with a layer of their own; the rest is `other`."""
WHOLE: Final = "time/step_s"


def time_phases(metrics: Mapping[str, Points]) -> dict[str, Points]:
    """Return the seconds of each phase by step, largest phase first, the rest as `other`.

    Args:
        metrics: the curves of one stage; phases are `time/<phase>_s`, the whole is `time/step_s`.
    """
    phases = {
        name.removeprefix("time/").removesuffix("_s"): dict(points)
        for name, points in metrics.items()
        if name.startswith("time/") and name != WHOLE
    }
    steps = sorted(set.intersection(*(set(points) for points in phases.values()))) if phases else []
    stacked = {name: [(at, points[at]) for at in steps] for name, points in phases.items()}
    ordered = dict(sorted(stacked.items(), key=lambda item: -_total(item[1]))[:MOST_PHASES])
    whole = dict(metrics.get(WHOLE, []))
    other = [
        (at, max(0.0, whole.get(at, 0.0) - sum(dict(p)[at] for p in ordered.values())))
        for at in steps
    ]
    if _total(other) > 0.01 * sum(whole.values()):
        ordered["other"] = other
    return {name: points for name, points in ordered.items() if points}


def stacked_chart(key: str, phases: Mapping[str, Points]) -> Markup:
    """Return a figure with one area a phase, its name and share of the time beside it."""
    caption = ("Time a step", "seconds, by phase")
    phases = _drawable(phases)
    if not phases:
        return empty_figure(key, caption)
    layers = _layers(phases)
    tops = [top for _, top in layers[-1][1]]
    low, high = span(tops, zero=True)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    xs = [x for x, _ in layers[0][1]]
    left = 8 + LETTER * max(len(label) for label in tick_labels(y.ticks()))
    right = 14 + LETTER * max(len(name) for name in phases)
    x = Scale(*along(xs), left, WIDTH - right)
    floor: Points = [(at, 0.0) for at in xs]
    unit = el("text", "step", x=WIDTH, y=y.start + 16, class_="tick end unit")
    parts = [axes(x, y, line=False), unit]
    for (name, points), (_, below) in zip(layers, [("", floor), *layers], strict=False):
        parts.append(_area(points, below, (x, y), tone_of(name)))
    total = sum(_total(points) for points in phases.values())
    shares = {name: _total(points) / total if total else 0.0 for name, points in phases.items()}
    parts.append(_labels(layers, shares, x, y))
    described = ", ".join(f"{name} {percent(share)}" for name, share in shares.items())
    text = f"Shares of {duration(total)} in all: {described}."
    return figure(key, caption, text, join(parts))


def _drawable(phases: Mapping[str, Points]) -> dict[str, Points]:
    """Return the phases at the steps at which all of them are numbers."""
    known = {name: dict(drawable(points)) for name, points in phases.items()}
    steps = sorted(set.intersection(*(set(points) for points in known.values()))) if known else []
    found = {name: [(at, points[at]) for at in steps] for name, points in known.items()}
    return found if steps else {}


def tone_of(phase: str) -> str:
    """Return the colour of a phase."""
    return TONES.get(phase, "d")


def _total(points: Points) -> float:
    return sum(value for _, value in points)


def _layers(phases: Mapping[str, Points]) -> list[tuple[str, Points]]:
    """Return the upper edge of each area, lowest first."""
    layers: list[tuple[str, Points]] = []
    below: list[float] = []
    for name, points in phases.items():
        drawn = smooth(thin(points))
        below = [b + v for b, (_, v) in zip(below or [0.0] * len(drawn), drawn, strict=True)]
        layers.append((name, [(x, top) for (x, _), top in zip(drawn, below, strict=True)]))
    return layers


def _area(top: Points, bottom: Points, scales: tuple[Scale, Scale], tone: str) -> Markup:
    outline = path([*top, *reversed(bottom)], *scales)
    return el("path", d=f"{outline}Z", class_=f"area {tone}")


def _labels(
    layers: list[tuple[str, Points]], shares: Mapping[str, float], x: Scale, y: Scale
) -> Markup:
    """Return the names from the bottom up, at least two lines apart."""
    parts: list[Markup] = []
    below, ceiling = 0.0, float(HEIGHT)
    for name, points in layers:
        top = points[-1][1]
        at = min(y((below + top) / 2) + 1, ceiling - 27)
        parts.append(el("text", name, x=x.end + 8, y=at - 2, class_=f"name {tone_of(name)}"))
        parts.append(el("text", percent(shares[name]), x=x.end + 8, y=at + 11, class_="value"))
        below, ceiling = top, at
    return join(parts)
