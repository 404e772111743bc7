"""The figures that one run is judged by, and the one that a search compares runs by."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Final

from rlhf.catalog.stages import PPO, SFT
from rlhf.report.read import Points, RunFiles, chosen_loss, number

LAST_PART: Final = 4
"""A run is ranked by the mean of the last quarter of its steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFigures:
    """A trial's figures: means over the last quarter of its steps; None where not recorded."""

    score: float | None = None
    """Mean score of a response."""
    win_rate: float | None = None
    """Share of prompts to which the held-out judge prefers the trained policy's answer."""
    kl: float | None = None
    """KL to the reference, nats a response."""
    entropy: float | None = None
    """Nats a token."""
    accuracy: float | None = None
    """Share of held-out pairs that a reward model ranks as people did."""
    loss: float | None = None
    """Loss of fine-tuning, nats a token; on the validation split where there is one."""
    seconds: float = 0.0
    """Time of all recorded steps."""
    steps: int = 0
    """PPO steps recorded; of a trial without PPO, the steps of its last stage."""


def figures_of(run: RunFiles) -> RunFigures:
    """Return a trial's figures from its run folder's files."""
    stage = PPO.name if run.curves.get(PPO.name) else next(reversed([*run.curves]), "")
    times = [run.curve(name, "time/step_s") for name in run.curves]
    return RunFigures(
        score=_last_part(run.curve(PPO.name, "objective/scores")),
        win_rate=number(run.evaluation, "win_rate"),
        kl=_last_part(run.curve(PPO.name, "objective/kl")),
        entropy=_last_part(run.curve(PPO.name, "policy/entropy_avg")),
        accuracy=number(run.reward_model, "accuracy"),
        loss=_loss(run),
        seconds=sum(value for points in times for _, value in points),
        steps=len(run.curve(stage, "time/step_s")),
    )


def objective(figures: RunFigures) -> float | None:
    """Return the one number a search compares trials by; higher is better.

    The held-out judge's win rate; without one the mean score; of a command without PPO the
    reward model's held-out accuracy, or the loss of fine-tuning with its sign turned.
    """
    loss = None if figures.loss is None else -figures.loss
    found = (figures.win_rate, figures.score, figures.accuracy, loss)
    return next((value for value in found if value is not None), None)


def _last_part(points: Points) -> float | None:
    if not points:
        return None
    return fmean(value for _, value in points[-max(1, len(points) // LAST_PART) :])


def _loss(run: RunFiles) -> float | None:
    name, kind = chosen_loss(run, SFT.name)
    points = run.curve(SFT.name, name)
    if kind == "validation" and points:
        return min(value for _, value in points)
    return _last_part(points)
