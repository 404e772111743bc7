"""The data curve: accuracy of reward models that learned from growing shares of the rankings.

All are measured on the same held-out pairs. Over a range as short as this accuracy grows by about
as much for each doubling, so a line over log2(rankings) is fitted; its slope is what twice as many
rankings would bring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rlhf.catalog.stages import REWARD_MODEL
from rlhf.checkpoint.files import write_json
from rlhf.observe.numbers import counted, percent, signed
from rlhf.report.data_curve import Gain, verdict
from rlhf.report.read import RunFiles, bounds, number, read_run, section

FOLDER: Final = "data_curve"
"""Of its trials, in the run's folder."""
CURVE: Final = "curve.json"
LEAST: Final = 3
"""Points below which no line is fitted: two always lie on one."""
MORE: Final = " More held-out pairs (data.test_fraction) make the interval narrower."
_NORMAL: Final = 1.96
_STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306)
"""Ends of the 95 % interval of Student's t, with 1, 2, ... degrees of freedom."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One reward model."""

    rankings: int
    """Rankings that it learned from."""
    accuracy: float
    """Share of held-out pairs ranked as people did."""
    low: float
    high: float
    """Ends of the accuracy's 95 % interval."""
    pairs: int
    """Held-out pairs."""


def point_of(run_dir: Path) -> Point | None:
    """Return what a finished run of a reward model says; None where it has no held-out pairs."""
    run = read_run(run_dir)
    found, ends = run.reward_model, bounds(run.reward_model, "interval")
    accuracy, pairs = number(found, "accuracy"), number(found, "pairs")
    rankings = _learned_from(run)
    if accuracy is None or ends is None or not rankings:
        return None
    return Point(
        rankings=rankings, accuracy=accuracy, low=ends[0], high=ends[1], pairs=int(pairs or 0)
    )


def _learned_from(run: RunFiles) -> int:
    """Return the different rankings of its steps: fewer than its rows within the first epoch."""
    done = section(run.manifest, "stages", REWARD_MODEL.name)
    batch_size = number(section(run.config, REWARD_MODEL.name), "batch_size") or 0
    return int(min(number(done, "rows") or 0, (number(done, "steps") or 0) * batch_size))


def fit(points: Sequence[Point]) -> Gain | None:
    """Fit accuracy = a + b log2(rankings) by least squares, weighted by the points' intervals.

    The interval of b is the wider of two: by the held-out pairs, as if those of each point were
    others (they are the same, so it is too wide rather than too narrow), and by how far the points
    lie from the line, by Student's t (which sees luck in training, too).

    Returns:
        The gain of a doubling; None with fewer than three different numbers of rankings.
    """
    xs = [math.log2(point.rankings) for point in points]
    if len({*xs}) < LEAST:
        return None
    ys = [point.accuracy for point in points]
    weights = [(2 * _NORMAL / (point.high - point.low)) ** 2 for point in points]
    total = sum(weights)
    mean_x = sum(w * x for w, x in zip(weights, xs, strict=True)) / total
    mean_y = sum(w * y for w, y in zip(weights, ys, strict=True)) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x in zip(weights, xs, strict=True))
    covered = sum(w * (x - mean_x) * y for w, x, y in zip(weights, xs, ys, strict=True))
    slope = covered / spread
    free = len(points) - 2
    misses = [y - mean_y - slope * (x - mean_x) for x, y in zip(xs, ys, strict=True)]
    scatter = sum(w * miss * miss for w, miss in zip(weights, misses, strict=True)) / free
    quantile = _STUDENT[min(free, len(_STUDENT)) - 1]
    half = max(_NORMAL, quantile * math.sqrt(scatter)) / math.sqrt(spread)
    return Gain(
        gain=slope,
        low=slope - half,
        high=slope + half,
        start=mean_y + slope * (min(xs) - mean_x),
        first=2 ** min(xs),
        last=2 ** max(xs),
    )


def told(points: Sequence[Point], gain: Gain | None) -> str:
    """Return what the curve says, in words."""
    if gain is None:
        return (
            f"too few points to say: a line needs {LEAST} different numbers of rankings, each with "
            f"an accuracy on held-out pairs, and there are {len({p.rankings for p in points})}"
        )
    low, middle, high = (signed(100 * x, 2) for x in (gain.low, gain.gain, gain.high))
    return (
        f"from {gain.first:,.0f} to {gain.last:,.0f} rankings, each doubling brought {middle} "
        f"points of accuracy (95 % interval {low} to {high}); {_first_small(verdict(gain))}"
        f"{'' if gain.low > 0 or gain.high < 0.01 else MORE} By the line, {2 * gain.last:,.0f} "
        f"rankings would reach {percent(min(1.0, gain.at(2 * gain.last)))}."
    )


def table_of(points: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells, a row a point."""
    rows = [
        [
            f"{p.rankings:,}",
            percent(p.accuracy),
            f"{percent(p.low)} to {percent(p.high)}",
            counted(p.pairs, "pair"),
        ]
        for p in points
    ]
    return ["rankings", "accuracy", "95 % interval", "held out"], rows


def write_curve(folder: Path, points: Sequence[Point], gain: Gain | None) -> Path:
    """Write the curve for programs: its points, the fitted gain, what it says."""
    path = folder / CURVE
    fitted = None if gain is None else asdict(gain)
    write_json(
        path,
        {"points": [asdict(point) for point in points], "gain": fitted, "told": told(points, gain)},
    )
    return path


def _first_small(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]
