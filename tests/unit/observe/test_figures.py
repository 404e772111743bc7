"""The figures of a stage: those that are known, in their order, in words for a person."""

from __future__ import annotations

import pytest

from rlhf.catalog.declared import live_of
from rlhf.catalog.stages import STAGES
from rlhf.observe.figures import headline, live_figures


def test_known_figures_come_in_order_with_their_labels():
    values = {"speed/tokens_per_s": 1234.0, "loss/train": 0.5, "lr": 1.0, "accuracy/train": 0.744}
    assert live_figures("reward_model", values) == [
        ("loss", "0.500"),
        ("accuracy", "74\u00a0%"),
        ("tokens/s", "1,234"),
    ]


def test_every_figure_of_a_stage_can_be_shown():
    for stage in STAGES:
        figures = live_of(stage.name)
        shown = live_figures(stage.name, {name: 1.0 for name, _ in figures})
        assert [label for label, _ in shown] == [live.label for _, live in figures]
        assert shown


def test_an_unknown_stage_has_no_figures():
    assert live_figures("start", {"loss/train": 1.0}) == []


@pytest.mark.parametrize(
    ("stage", "last", "text"),
    [
        (
            "ppo",
            {"objective/scores": 1.5, "objective/kl": 6.0},
            "score \u22120.500 \u2192 1.50 at KL 6.00",
        ),
        ("ppo", {"objective/scores": 1.5}, "score \u22120.500 \u2192 1.50 at KL \u2013"),
        (
            "reward_model",
            {"loss/train": 0.4, "loss/validation": 0.5, "accuracy/validation": 0.72},
            "validation accuracy 72\u00a0%",
        ),
        ("sft", {"loss/train": 2.0, "loss/validation": 2.5}, "validation loss 2.50"),
        ("sft", {"loss/train": 2.0}, "loss 2.00"),
        ("sft", {}, ""),
    ],
)
def test_the_headline_is_the_figure_that_sums_up(stage, last, text):
    assert headline(stage, {"objective/scores": -0.5}, last) == text
