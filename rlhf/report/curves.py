"""The section of curves: each stage's pictures, drawn from what the run recorded."""

from __future__ import annotations

import math

from rlhf.catalog.stages import PPO, title_of
from rlhf.observe.health import KL_LIMIT
from rlhf.observe.numbers import short
from rlhf.report.chart import Chart, Line, line_chart
from rlhf.report.html import Markup, el, join
from rlhf.report.plots import MAIN, MORE, Plot
from rlhf.report.read import Points, RunFiles, number, section
from rlhf.report.stack import stacked_chart, time_phases


def stage_curves(run: RunFiles, stage: str) -> Markup | None:
    """Return the curves of one stage; None when it recorded nothing that is drawn."""
    main = [chart for plot in MAIN[stage] if (chart := _draw(run, stage, plot)) is not None]
    if stage == PPO.name:
        main += _ppo_extras(run)
    if not main:
        return None
    more = [chart for plot in MORE[stage] if (chart := _draw(run, stage, plot)) is not None]
    folded = el("details", el("summary", "More curves"), el("div", *more, class_="charts"))
    return el(
        "section",
        el("h3", title_of(stage)),
        el("div", *main, class_="charts"),
        folded if more else None,
    )


def _draw(run: RunFiles, stage: str, plot: Plot) -> Markup | None:
    found = [(name, run.curve(stage, metric), metric) for metric, name in plot.metrics]
    lines = [
        Line(
            name=name,
            points=points,
            tone=tone,
            smooth=metric != "lr" and not metric.endswith("/validation"),
        )
        for (name, points, metric), tone in zip(found, "abcd", strict=False)
        if points
    ]
    if not lines:
        return None
    levels = _kl_levels(run) if plot.metrics[0][0] == "objective/kl" else ()
    chart = Chart(
        key=_key(stage, plot.title),
        title=plot.title,
        unit=plot.unit,
        lines=lines,
        levels=levels,
        percent=plot.percent,
        zero=plot.zero,
    )
    return line_chart(chart)


def _kl_levels(run: RunFiles) -> tuple[tuple[str, float], ...]:
    """Return the target, if one was set, and the budget once the run comes near it."""
    target = number(section(run.config, PPO.name), "kl_target")
    levels = ((f"target {short(target)}", target),) if target is not None else ()
    highest = max((value for _, value in run.curve(PPO.name, "objective/kl")), default=0.0)
    if highest > 0.6 * KL_LIMIT:
        levels = (*levels, (f"budget {KL_LIMIT:.0f}", KL_LIMIT))
    return levels


def _ppo_extras(run: RunFiles) -> list[Markup]:
    """Return the pictures that are not curves over steps: what KL bought, and the time."""
    charts: list[Markup] = []
    price = _score_by_kl(run)
    if len(price) > 1:
        chart = Chart(
            key="ppo-score-by-kl",
            title="Score bought with KL",
            unit="batch mean, by \u221aKL",
            lines=[Line(name="", points=price, tone="c")],
            x_label="\u221aKL",
        )
        charts.append(line_chart(chart))
    phases = time_phases(run.curves.get(PPO.name, {}))
    if phases:
        charts.append(stacked_chart("ppo-time", phases))
    return charts


def _score_by_kl(run: RunFiles) -> Points:
    """Return (root of KL, score) in order of KL, the axes of Gao et al. 2022, figure 1."""
    scores = dict(run.curve(PPO.name, "objective/scores"))
    kls = run.curve(PPO.name, "objective/kl")
    pairs = [(math.sqrt(kl), scores[step]) for step, kl in kls if kl >= 0 and step in scores]
    return sorted(pairs)


def _key(stage: str, title: str) -> str:
    return f"{stage}-{title}".lower().replace(" ", "-").replace("_", "-")


def all_curves(run: RunFiles) -> Markup | None:
    """Return the section of curves, stage by stage; None when nothing was recorded."""
    stages = [part for stage in MAIN if (part := stage_curves(run, stage)) is not None]
    if not stages:
        return None
    lead = "Thin lines show every step, bold lines their moving mean, whose last value is shown."
    return join([el("h2", "Curves"), el("p", lead, class_="soft"), *stages])
