"""How much data is enough: the reward model's accuracy against the rankings it had learned from.

In its first pass a reward model ranks every batch before it learns from it, so the accuracy of each
step is one on unseen rankings (prequential; Dawid 1984). Accuracy grows by about as much for each
doubling; the slope over the last three of them is what twice as many rankings would bring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlhf.catalog.stages import REWARD_MODEL
from rlhf.observe.numbers import signed
from rlhf.report.chart import Chart, Line, line_chart
from rlhf.report.html import Markup, el, join
from rlhf.report.read import Points, RunFiles, number, section

DOUBLINGS = 3
"""The last doublings of the rankings, over which the slope is fitted."""
LEAST_STEPS = 16
"""Steps among them, below which nothing is said."""
DRAWN = 12
"""Points of the picture, each a mean over as many steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gain:
    """What a doubling of the rankings brought, in shares of 1."""

    gain: float
    low: float
    """Ends of the 95 % interval."""
    high: float
    start: float
    """Accuracy of the fitted line at `first` rankings."""
    first: float
    last: float
    """Rankings at both ends of the fit."""

    def at(self, rankings: float) -> float:
        """Return the accuracy of the fitted line."""
        return self.start + self.gain * math.log2(rankings / self.first)


def gain_of(points: Points, batch_size: int) -> Gain | None:
    """Fit accuracy = a + b log2(rankings) over the last doublings, by weighted least squares.

    Args:
        points: (rankings learned from before the step, accuracy of the step).
        batch_size: rankings a step; its accuracy has the variance of so many draws.

    Returns:
        The gain of a doubling; None where too few steps tell it.
    """
    seen = [(count, accuracy) for count, accuracy in points if count > 0]
    if not seen:
        return None
    last = max(count for count, _ in seen)
    late = [(math.log2(n), accuracy) for n, accuracy in seen if n >= last / 2**DOUBLINGS]
    if len(late) < LEAST_STEPS:
        return None
    xs, ys = [x for x, _ in late], [y for _, y in late]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in late) / spread
    error = math.sqrt(max(mean_y * (1 - mean_y), 1e-4) / batch_size / spread)
    return Gain(
        gain=slope,
        low=slope - 1.96 * error,
        high=slope + 1.96 * error,
        start=mean_y + slope * (min(xs) - mean_x),
        first=2 ** min(xs),
        last=last,
    )


def gain_section(run: RunFiles) -> Markup | None:
    """Return what twice as many rankings would bring; None where the run does not tell."""
    batch_size = number(section(run.config, REWARD_MODEL.name), "batch_size")
    if batch_size is None:
        return None
    points = first_pass(run, int(batch_size))
    gain = gain_of(points, int(batch_size))
    if gain is None:
        return None
    fitted = [(n, gain.at(n)) for n, _ in points if n >= gain.first]
    chart = Chart(
        key="data-curve",
        title="Accuracy by rankings learned from",
        unit="of pairs not yet learned from",
        lines=[
            Line(name="measured", points=_averaged(points), smooth=False),
            Line(name="fitted", points=[fitted[0], fitted[-1]], tone="b", smooth=False),
        ],
        x_label="rankings",
        percent=True,
    )
    return join(
        [
            el("h3", "Would more rankings help?"),
            el("p", _told(gain), class_="soft"),
            el("div", line_chart(chart), class_="charts"),
        ]
    )


def first_pass(run: RunFiles, batch_size: int) -> Points:
    """Return (rankings learned from before, accuracy) of the steps on rankings not seen before."""
    steps = run.curve(REWARD_MODEL.name, "accuracy/train")
    epochs = number(section(run.config, REWARD_MODEL.name), "num_epochs")
    if epochs is None or epochs > 1:
        rows = _rows(run)
        steps = [(s, a) for s, a in steps if rows is not None and (s + 1) * batch_size <= rows]
    return [(step * batch_size, accuracy) for step, accuracy in steps]


def _rows(run: RunFiles) -> float | None:
    """Return the rankings trained on, where the manifest tells it."""
    noted = number(section(run.manifest, "stages", REWARD_MODEL.name), "rows")
    if noted is not None:
        return noted
    # The stage is not finished, or of a release that did not note it: the rows of one source.
    preferences = section(run.config, "data").get("preferences")
    found = section(run.manifest, "data", str(preferences))
    return number(found, "rows")


def _averaged(points: Points) -> Points:
    """Return means over stretches of steps."""
    size = max(1, -(-len(points) // DRAWN))
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    return [(_mean([n for n, _ in part]), _mean([a for _, a in part])) for part in parts]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _told(gain: Gain) -> str:
    points, low, high = (signed(100 * x, 2) for x in (gain.gain, gain.low, gain.high))
    return (
        f"From {gain.first:,.0f} to {gain.last:,.0f} rankings, each doubling brought {points} "
        f"points of accuracy on rankings not yet learned from (95\u00a0% interval {low} to {high}"
        f"). {verdict(gain)}"
    )


def verdict(gain: Gain) -> str:
    """Return what the interval says of twice as many rankings, in a sentence."""
    if gain.low > 0:
        return "Twice as many would bring about as much again, less where it flattens."
    if gain.high < 0.01:
        return "Twice as many would bring less than one point."
    return "Whether twice as many would help cannot be told from so few."
