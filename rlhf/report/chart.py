"""Line charts as inline SVG: one picture a question, its curves labelled at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from rlhf.observe.numbers import ROUNDING, WRITERS, nats, short
from rlhf.observe.numbers import percent as as_percent
from rlhf.report.html import Markup, el, join
from rlhf.report.read import Points
from rlhf.report.scale import Scale, along, span, tick_labels
from rlhf.report.trace import drawable, path, smooth, thin

WIDTH: Final = 344
HEIGHT: Final = 196
TOP, BOTTOM = 12, 26
LETTER: Final = 6.3
"""Width of one label character, in the picture's units."""
SMOOTH_FROM: Final = 24
"""Points from which a moving mean is drawn over the raw line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One curve: its points and its name."""

    name: str
    """Shown at its end; empty when it is the only one."""
    points: Points
    """(x, y) pairs in drawing order."""
    tone: str = "a"
    """Colour: a, b, c or d."""
    smooth: bool = True
    """Whether a moving mean may be drawn over many points; a validation curve is shown as it is."""
    quiet: bool = False
    """Whether it is drawn thin and without a label, as one of many; not every line may be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """The curves, title, unit and axes of one picture."""

    key: str
    """Unique on the page; letters, digits and dashes."""
    title: str
    """What is measured."""
    unit: str
    """In what; may be empty."""
    lines: Sequence[Line]
    """Curves; points that are no numbers are left out of the picture."""
    levels: Sequence[tuple[str, float]] = ()
    """(label, value) of dashed horizontal lines, such as a target."""
    x_label: str = "step"
    """What the horizontal axis counts."""
    percent: bool = False
    """Whether values are shares of 1, shown in percent."""
    zero: bool = False
    """Whether the vertical axis starts at 0."""

    def write(self, value: float) -> str:
        """Return a value of this chart as text, in its unit."""
        return as_percent(value) if self.percent else WRITERS.get(self.unit, short)(value)


def line_chart(chart: Chart) -> Markup:
    """Return a figure: caption, then the SVG with title and description for screen readers."""
    caption = (chart.title, chart.unit)
    lines = [replace(line, points=drawable(line.points)) for line in chart.lines]
    chart = replace(chart, lines=[line for line in lines if line.points])
    if not chart.lines:
        return empty_figure(chart.key, caption)
    x, y = _scales(chart)
    body = join(
        [
            axes(x, y, percents=(False, chart.percent)),
            el("text", chart.x_label, x=WIDTH, y=y.start + 16, class_="tick end unit"),
            *(_level(name, value, x, y) for name, value in chart.levels),
            *(_curve(line, x, y) for line in chart.lines),
            _end_labels(chart, x, y),
        ]
    )
    return figure(chart.key, caption, _describe(chart), body)


def empty_figure(key: str, caption: tuple[str, str]) -> Markup:
    """Return a captioned picture of nothing, which says so."""
    none = "nothing was recorded that is a number"
    return figure(key, caption, none, el("text", none, x=8, y=HEIGHT // 2, class_="tick"))


def figure(key: str, caption: tuple[str, str], description: str, body: Markup) -> Markup:
    """Return a captioned SVG of the shared size; the caption is a title and its unit."""
    title, unit = caption
    svg = el(
        "svg",
        el("title", title, id=f"{key}-title"),
        el("desc", description, id=f"{key}-desc"),
        body,
        viewbox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )
    text = el("figcaption", el("b", title), el("span", unit) if unit else None)
    return el("figure", text, svg, class_="chart")


def _drawn(line: Line) -> Points:
    """Return the main curve: smoothed when there are many points."""
    points = thin(line.points)
    return smooth(points) if line.smooth and len(points) >= SMOOTH_FROM else points


def _scales(chart: Chart) -> tuple[Scale, Scale]:
    xs = [px for line in chart.lines for px, _ in line.points]
    ys = [py for line in chart.lines for _, py in thin(line.points)]
    ys += [value for _, value in chart.levels]
    if WRITERS.get(chart.unit) is nats and max(map(abs, ys)) < ROUNDING:
        ys = [0.0]  # else the picture would be one of rounding
    y_low, y_high = span(ys, zero=chart.zero)
    is_share = chart.percent and max(ys) <= 1
    y = Scale(y_low, min(1.0, y_high) if is_share else y_high, HEIGHT - BOTTOM, TOP)
    left = 8 + LETTER * max(map(len, tick_labels(y.ticks(), percent=chart.percent)), default=1)
    return Scale(*along(xs), left, WIDTH - _label_width(chart)), y


def _label_width(chart: Chart) -> float:
    lines = [line for line in chart.lines if not line.quiet]
    texts = [text for line in lines for text in (line.name, chart.write(line.points[-1][1]))]
    return 14 + LETTER * max(max(map(len, texts), default=0), len(chart.x_label) // 2)


def axes(
    x: Scale,
    y: Scale,
    *,
    percents: tuple[bool, bool] = (False, False),
    count: int | None = None,
    line: bool = True,
) -> Markup:
    """Return the grid, the ticks and their labels.

    Args:
        x: The horizontal scale.
        y: The vertical scale, which starts at the floor.
        percents: Whether x, and y, are shares of 1, shown in percent.
        count: About how many ticks x has; the usual number unless given.
        line: Whether x is drawn as a line with a mark at each tick.
    """
    parts: list[Markup] = []
    floor = y.start
    for tick, label in zip(y.ticks(), tick_labels(y.ticks(), percent=percents[1]), strict=True):
        at = y(tick)
        parts.append(el("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="grid"))
        parts.append(el("text", label, x=x.start - 6, y=at + 3.5, class_="tick end"))
    ticks = x.ticks() if count is None else x.ticks(count)
    for tick, label in zip(ticks, tick_labels(ticks, percent=percents[0]), strict=True):
        if line:
            parts.append(el("line", x1=x(tick), x2=x(tick), y1=floor, y2=floor + 4, class_="axis"))
        parts.append(el("text", label, x=x(tick), y=floor + 16, class_="tick mid"))
    if line:
        parts.append(el("line", x1=x.start, x2=x.end, y1=floor, y2=floor, class_="axis"))
    return join(parts)


def _level(name: str, value: float, x: Scale, y: Scale) -> Markup:
    at = y(value)
    rule = el("line", x1=x.start, x2=x.end, y1=at, y2=at, class_="level")
    return join([rule, el("text", name, x=x.start + 4, y=at - 4, class_="tick halo")])


def _curve(line: Line, x: Scale, y: Scale) -> Markup:
    points, main = thin(line.points), _drawn(line)
    if line.quiet:
        return el("path", d=path(main, x, y), class_=f"raw {line.tone}")
    parts: list[Markup] = []
    if main is not points:
        parts.append(el("path", d=path(points, x, y), class_=f"raw {line.tone}"))
    if len(main) > 1:
        parts.append(el("path", d=path(main, x, y), class_=f"main {line.tone}"))
    end_x, end_y = main[-1]
    parts.append(el("circle", cx=x(end_x), cy=y(end_y), r=3, class_=f"dot {line.tone}"))
    return join(parts)


def _end_labels(chart: Chart, x: Scale, y: Scale) -> Markup:
    """Return name and value at the end of each curve, moved apart where they would touch."""
    lines = [line for line in chart.lines if not line.quiet]
    many = len(lines) > 1
    height = 27.0 if many else 14.0
    ends = sorted(((y(_drawn(line)[-1][1]), line) for line in lines), key=lambda end: end[0])
    rows = _spread([at for at, _ in ends], height)
    parts: list[Markup] = []
    for row, (_, line) in zip(rows, ends, strict=True):
        left = x(_drawn(line)[-1][0]) + 8
        value = chart.write(_drawn(line)[-1][1])
        if many:
            parts.append(el("text", line.name, x=left, y=row - 2, class_=f"name {line.tone}"))
        parts.append(el("text", value, x=left, y=row + (11 if many else 4), class_="value"))
    return join(parts)


def _spread(rows: list[float], height: float) -> list[float]:
    """Return sorted positions at least `height` apart, kept inside the picture."""
    placed = list(rows)
    for at, (above, _) in enumerate(pairwise(rows)):
        placed[at + 1] = max(placed[at + 1], placed[at] + height, above)
    overflow = placed[-1] - (HEIGHT - BOTTOM - 10) if placed else 0
    if overflow > 0:
        placed = [row - overflow for row in placed]
    return placed


def _describe(chart: Chart) -> str:
    sentences = [
        f"{line.name or chart.title}: from {chart.write(line.points[0][1])} at {chart.x_label} "
        f"{_place(line.points[0][0])} to {chart.write(line.points[-1][1])} at {chart.x_label} "
        f"{_place(line.points[-1][0])}; lowest {chart.write(min(v for _, v in line.points))}, "
        f"highest {chart.write(max(v for _, v in line.points))}."
        for line in chart.lines
        if not line.quiet
    ]
    sentences += [f"Dashed line: {name}." for name, _ in chart.levels]
    return " ".join(sentences)


def _place(x: float) -> str:
    """Return a position on the horizontal axis as text: a step as a whole number."""
    return f"{x:,.0f}" if x == round(x) else short(x)
