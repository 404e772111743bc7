"""The pipeline at a glance: three stages, each with its one figure."""

from __future__ import annotations

from rlhf.catalog.stages import PPO, REWARD_MODEL, STAGES, StageRecord
from rlhf.observe.numbers import counted, duration, percent, short
from rlhf.report.html import Markup, el
from rlhf.report.read import RunFiles, chosen_loss, ends, number, section


def pipeline_section(run: RunFiles) -> Markup | None:
    """Return a card for each stage that ran, in order; None when none did."""
    cards = [_card(run, stage) for stage in STAGES if _has_run(run, stage.name)]
    if not cards:
        return None
    return el("ol", *cards, class_="pipeline", aria_label="The stages of this run")


def _has_run(run: RunFiles, stage: str) -> bool:
    return stage in run.curves or bool(section(run.manifest, "stages", stage))


def _card(run: RunFiles, stage: StageRecord) -> Markup:
    figure, label = _figure(run, stage.name)
    return el(
        "li",
        el("h3", stage.short_title),
        el("p", stage.purpose, class_="soft"),
        el("p", el("strong", figure), el("span", label), class_="big") if figure else None,
        el("p", _effort(run, stage.name), class_="soft small"),
    )


def _figure(run: RunFiles, stage: str) -> tuple[str, str]:
    """Return the stage's figure and what it is."""
    if stage == PPO.name:
        first, last = _ends(run, stage, "objective/scores")
        return (f"{first} \u2192 {last}", "score") if last else ("", "")
    if stage == REWARD_MODEL.name:
        accuracy = number(run.reward_model, "accuracy")
        points = run.curve(stage, "accuracy/validation")
        share = accuracy if accuracy is not None or not points else points[-1][1]
        return (percent(share), "of held-out pairs right") if share is not None else ("", "")
    metric, kind = chosen_loss(run, stage)
    first, last = _ends(run, stage, metric)
    return (f"{first} \u2192 {last}", f"{kind} loss") if last else ("", "")


def _ends(run: RunFiles, stage: str, metric: str) -> tuple[str, str]:
    points = run.curve(stage, metric)
    if not points:
        return "", ""
    is_noisy = not metric.endswith("/validation")
    first, last = ends(points) if is_noisy else (points[0][1], points[-1][1])
    return short(first), short(last)


def _effort(run: RunFiles, stage: str) -> str:
    done = section(run.manifest, "stages", stage)
    seconds = number(done, "seconds")
    steps = number(done, "steps")
    if steps is None:
        recorded = [points[-1][0] for points in run.curves.get(stage, {}).values()]
        steps = max(recorded) + 1 if recorded else None
    parts = [counted(round(steps), "step") if steps is not None else ""]
    parts.append(duration(seconds) if seconds is not None else "")
    return " \u00b7 ".join(part for part in parts if part)
