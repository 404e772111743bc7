"""The few figures that matter in each stage, as a terminal shows them."""

from __future__ import annotations

from collections.abc import Mapping

from rlhf.catalog.declared import headlines_of, live_of, metric
from rlhf.observe.numbers import WRITERS, filled, short


def live_figures(stage: str, values: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return (label, value) for the metrics of a stage that are known so far."""
    return [
        (live.label, WRITERS.get(metric(stage, name).unit, short)(values[name]))
        for name, live in live_of(stage)
        if name in values
    ]


def headline(stage: str, first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """Return the one figure that sums up a stage.

    Args:
        stage: sft, reward_model or ppo.
        first: the first value seen of each metric.
        last: the latest value of each metric.
    """
    for name, line in headlines_of(stage):
        if name in last:
            return filled(line.says, {**last, "first": first.get(name), "last": last[name]})
    return ""
