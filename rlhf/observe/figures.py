"""The few figures that matter in each stage, and how a terminal names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT
from rlhf.observe.numbers import percent, short

LIVE: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    SFT.name: (
        ("loss/train", "loss"),
        ("loss/validation", "validation"),
        ("speed/tokens_per_s", "tokens/s"),
    ),
    REWARD_MODEL.name: (
        ("loss/train", "loss"),
        ("accuracy/train", "accuracy"),
        ("accuracy/validation", "validation"),
        ("speed/tokens_per_s", "tokens/s"),
    ),
    PPO.name: (
        ("objective/scores", "score"),
        ("objective/kl", "KL"),
        ("policy/entropy_avg", "entropy"),
        ("completions/mean_length", "length"),
        ("speed/tokens_per_s", "tokens/s"),
    ),
}
"""Metric and label, in the order they are shown."""


def live_figures(stage: str, values: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return (label, value) for the metrics of a stage that are known so far."""
    return [
        (label, _write(name, values[name])) for name, label in LIVE.get(stage, ()) if name in values
    ]


def headline(stage: str, first: Mapping[str, float], last: Mapping[str, float]) -> str:
    """Return the one figure that sums up a stage.

    Args:
        stage: sft, reward_model or ppo.
        first: the first value seen of each metric.
        last: the latest value of each metric.
    """
    if stage == PPO.name and "objective/scores" in last:
        scores = (
            f"score {short(first['objective/scores'])} \u2192 {short(last['objective/scores'])}"
        )
        return f"{scores} at KL {short(last.get('objective/kl'))}"
    for name, label in (
        ("accuracy/validation", "validation accuracy"),
        ("loss/validation", "validation loss"),
        ("loss/train", "loss"),
    ):
        if name in last:
            return f"{label} {_write(name, last[name])}"
    return ""


def _write(name: str, value: float) -> str:
    return percent(value) if name.startswith("accuracy/") else short(value)
