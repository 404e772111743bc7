"""Batch arithmetic: the numbers that follow from the batch settings, before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from rlhf.catalog.stages import StageRecord
from rlhf.config.experiment import Experiment

Line = tuple[str, str, str]
"""Stage, quantity, value with how it came about."""


def arithmetic(
    experiment: Experiment, stages: Iterable[StageRecord], rows: Mapping[str, int]
) -> list[Line]:
    """Return the derived numbers of every stage that will run.

    Args:
        experiment: The configuration.
        stages: The stages that will run; those without rows are left out.
        rows: Training rows by kind of data: demonstrations, preferences, prompts.
    """
    lines: list[Line] = []
    for stage in stages:
        if stage.reads in rows:
            derived = _epochs if stage.loop == "epochs" else _rollouts
            lines += derived(stage, rows[stage.reads], experiment)
    return lines


def _epochs(stage: StageRecord, rows: int, experiment: Experiment) -> list[Line]:
    config = getattr(experiment, stage.name)
    steps = -(-rows // config.batch_size)
    total = math.ceil(config.num_epochs * steps)
    return [
        (stage.name, "warm-up", _rise(config.optimizer.warmup_steps, total)),
        (
            stage.name,
            "optimizer steps",
            f"{total:,} at most = {_epochs_of(config.num_epochs)} x {steps:,} "
            f"({rows:,} {'row' if rows == 1 else 'rows'} / {config.batch_size})",
        ),
    ]


def _rollouts(stage: StageRecord, prompts: int, experiment: Experiment) -> list[Line]:
    ppo = experiment.ppo
    responses = ppo.rollout_batch_size * ppo.samples_per_prompt
    minibatches = responses // ppo.minibatch_size
    rises = [
        (stage.name, f"warm-up of the {name}", _rise(section.optimizer.warmup_steps, ppo.num_steps))
        for name, section in (("policy", experiment.policy), ("value", experiment.value))
    ]
    total = ppo.num_steps * responses
    return [
        (
            stage.name,
            "responses a step",
            f"{responses:,} = {ppo.rollout_batch_size} prompts x {ppo.samples_per_prompt}",
        ),
        (
            stage.name,
            "optimizer steps a step",
            f"{ppo.updates_a_step} = {ppo.num_epochs} epochs x {minibatches} minibatches "
            f"of {ppo.minibatch_size}",
        ),
        (
            stage.name,
            "responses in all",
            f"{total:,} = {_count(ppo.num_steps)} x {responses:,} "
            f"({ppo.num_steps * ppo.rollout_batch_size / max(prompts, 1):.3g} epochs of "
            f"{prompts:,} prompts)",
        ),
        *rises,
    ]


def _rise(warmup: int, steps: int) -> str:
    never = "" if warmup < steps else "; the peak rate is never reached"
    return f"{warmup:,} of {_count(steps)}{never}"


def _epochs_of(epochs: float) -> str:
    return f"{epochs:g} epoch" if epochs == 1 else f"{epochs:g} epochs"


def _count(steps: int) -> str:
    return f"{steps:,} step" if steps == 1 else f"{steps:,} steps"
