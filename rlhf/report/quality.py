"""How good the reward model is: accuracy, calibration, and where it fails."""

from __future__ import annotations

import math

from rlhf.observe import files
from rlhf.observe.numbers import percent, short
from rlhf.report.chart import BOTTOM, HEIGHT, LETTER, TOP, WIDTH, axes, figure
from rlhf.report.data_curve import gain_section
from rlhf.report.html import Markup, el, join
from rlhf.report.outcome import interval_bar
from rlhf.report.read import Points, RunFiles, bounds, number, objects, words
from rlhf.report.scale import Scale
from rlhf.report.trace import path


def quality_section(run: RunFiles) -> Markup | None:
    """Return the reward model's figures on held-out pairs; None when there are none."""
    found = run.reward_model
    accuracy = number(found, "accuracy")
    if accuracy is None:
        return None
    panels = [
        _reliability(found),
        *(_breakdown(title, unit, objects(found, key)) for key, title, unit in _breakdowns(found)),
    ]
    return join(
        [
            el("h2", "Can the reward model be trusted?"),
            el("p", _lead(found), class_="soft"),
            interval_bar(
                "of held-out pairs ranked as people did", accuracy, bounds(found, "interval")
            ),
            el("div", *panels, class_="charts"),
            gain_section(run),
        ]
    )


def _breakdowns(found: files.Row) -> list[tuple[str, str, str]]:
    """Return (key, title, unit) of each; without margins, the model's own certainty stands in."""
    clear = ("by_margin", "Accuracy by margin", "how clear the choice was")
    sure = ("by_score_gap", "Accuracy by score difference", "how sure the model is")
    return [
        clear if objects(found, "by_margin") else sure,
        ("by_ranks_apart", "Accuracy by ranks apart", "1: neighbours in the ranking"),
        ("by_length_difference", "Accuracy by length difference", "tokens, better less worse"),
    ]


def _lead(found: files.Row) -> str:
    pairs, length = number(found, "pairs"), number(found, "length_baseline_accuracy")
    error = number(found, "calibration_error")
    parts = [f"{pairs:,.0f} pairs it never saw." if pairs else ""]
    if length is not None:
        side = words(found, "length_baseline_prefers") or "longer"
        parts.append(f"Always preferring the {side} answer would reach {percent(length)}.")
    if error is not None:
        parts.append(f"Its stated confidence is off by {short(100 * error, 2)} points on average.")
    return " ".join(part for part in parts if part)


def _reliability(found: files.Row) -> Markup | None:
    """Return stated confidence against observed accuracy; the dashed diagonal is calibrated."""
    bins = [
        (confidence, accuracy, number(entry, "count") or 0.0)
        for entry in objects(found, "bins")
        if (confidence := number(entry, "confidence")) is not None
        and (accuracy := number(entry, "accuracy")) is not None
    ]
    bins = [entry for entry in bins if entry[2] > 0]
    if not bins:
        return None
    low = math.floor(10 * max(0.0, min(0.5, *(min(c, a) for c, a, _ in bins)))) / 10
    left = 8 + LETTER * 5
    x, y = Scale(low, 1, left, WIDTH - 12), Scale(low, 1, HEIGHT - BOTTOM, TOP)
    line: Points = [(confidence, accuracy) for confidence, accuracy, _ in bins]
    most = max(count for _, _, count in bins)
    dots = [
        el("circle", cx=x(c), cy=y(a), r=2.5 + 5 * math.sqrt(n / most), class_="dot a")
        for c, a, n in bins
    ]
    honest: Points = [(low, low), (1.0, 1.0)]
    body = join(
        [
            axes(x, y, percents=(True, True), line=False),
            el("text", "confidence \u2192", x=x.end, y=y.start - 6, class_="tick end unit"),
            el("text", "\u2191 right", x=x.start + 4, y=y.end + 8, class_="tick unit"),
            el("path", d=path(honest, x, y), class_="level"),
            el("path", d=path(line, x, y), class_="raw a"),
            *dots,
        ]
    )
    text = "; ".join(f"says {percent(c)}, is right {percent(a)} of {n:,.0f}" for c, a, n in bins)
    return figure("reliability", ("Confidence and truth", "dot area: pairs"), f"{text}.", body)


def _breakdown(title: str, unit: str, groups: list[files.Row]) -> Markup | None:
    """Return a table of accuracies as bars, one row a group of pairs."""
    rows = [
        el(
            "tr",
            el("th", words(group, "label"), scope="row"),
            el(
                "td",
                el("i", style=f"width:{100 * accuracy:.1f}%"),
                class_="bar",
                aria_hidden="true",
            ),
            el("td", percent(accuracy)),
            el("td", _range(bounds(group, "interval")), class_="soft"),
            el("td", f"{number(group, 'count') or 0:,.0f}", class_="soft"),
        )
        for group in groups
        if (accuracy := number(group, "accuracy")) is not None
    ]
    heads = [
        el("th", "Group", scope="col"),
        el("td", aria_hidden="true"),
        el("th", "right", scope="col"),
        el("th", "95\u00a0%", scope="col"),
        el("th", "pairs", scope="col"),
    ]
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="bars")
    caption = el("figcaption", el("b", title), el("span", unit))
    return el("figure", caption, table, class_="chart") if rows else None


def _range(interval: tuple[float, float] | None) -> str:
    return f"{100 * interval[0]:.0f}\u2013{100 * interval[1]:.0f}" if interval else ""
