"""Rates: ten times those of whole weights for adapters, unless one is given."""

from __future__ import annotations

import pytest

from rlhf.config.load import load
from rlhf.config.rates import LEARNERS, rate

WHOLE = {"sft": 1e-5, "reward_model": 1e-5, "policy": 1e-6, "value": 1e-5}
"""TRL's reward trainer and Ouyang et al. 2022 for the reward model; TRL's GRPO for the policy."""


def rates(mapping: dict[str, object]) -> dict[str, float]:
    """Return every learning rate of a configuration."""
    experiment = load(mapping)
    return {name: getattr(experiment, name).optimizer.lr for name in LEARNERS}


def test_whole_weights_keep_the_published_rates():
    assert rates({}) == WHOLE


def test_adapters_take_ten_times_as_much():
    found = rates({"peft": {"method": "lora"}})
    assert found == pytest.approx({name: 10 * lr for name, lr in WHOLE.items()})


@pytest.mark.parametrize("name", LEARNERS)
def test_a_given_rate_wins_and_the_curve_stays(name):
    given = {"peft": {"method": "lora"}, name: {"optimizer": {"lr": WHOLE[name]}}}
    assert rates(given)[name] == WHOLE[name]
    assert load({"peft": {"method": "lora"}}).sft.optimizer.schedule == "cosine"


def test_null_is_not_given():
    assert rates({"sft": {"optimizer": {"lr": None}}})["sft"] == WHOLE["sft"]


def test_a_rate_is_written_without_rounding_noise():
    assert rate(1e-5, "lora") == 1e-4
    assert rate(1e-6, "lora") == 1e-5
