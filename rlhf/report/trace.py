"""Trace: from the points of a curve to the line that is drawn."""

from __future__ import annotations

import math
from statistics import fmean
from typing import Final

from rlhf.report.read import Points
from rlhf.report.scale import LARGEST, Scale

MOST_POINTS: Final = 400
"""More are averaged in groups before drawing; the page stays small."""


def drawable(points: Points) -> Points:
    """Return the points that are numbers, in the order given; the largest are drawn as LARGEST."""
    return [
        (x, min(LARGEST, max(-LARGEST, y)))
        for x, y in points
        if math.isfinite(x) and math.isfinite(y)
    ]


def smooth(points: Points) -> Points:
    """Return the moving mean of y over a fifteenth of the points, centred on each."""
    reach = max(1, len(points) // 30)
    ys = [y for _, y in points]
    means = [fmean(ys[max(0, at - reach) : at + reach + 1]) for at in range(len(ys))]
    return [(x, mean) for (x, _), mean in zip(points, means, strict=True)]


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most `most` points, each the mean of a group of neighbours."""
    size = -(-len(points) // most)
    groups = [points[at : at + size] for at in range(0, len(points), size)] if size > 1 else []
    return [(fmean(x for x, _ in g), fmean(y for _, y in g)) for g in groups] or points


def path(points: Points, x: Scale, y: Scale) -> str:
    """Return the drawing commands of a line through the points."""
    return "M" + "L".join(f"{x(px):.1f},{y(py):.1f}" for px, py in points)
