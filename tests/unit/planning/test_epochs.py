"""Epochs: seconds are products over the rate reached, and grow with tokens, weights and epochs."""

from __future__ import annotations

import pytest

from rlhf.catalog.stages import REWARD_MODEL, SFT
from rlhf.errors import ConfigError
from rlhf.planning.epochs import epoch_seconds, seconds_of
from rlhf.planning.hardware import read_hardware
from rlhf.planning.shapes import role_shapes
from tests import models

NEW = {"new": {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "vocab_size": 300}}


def experiment(**changes):
    return models.experiment(
        "deepspeed",
        policy=NEW,
        plan={"hardware": "1xa100-80gb"},
        data={"preferences": "p.jsonl"},
        **changes,
    )


def test_six_products_a_weight_and_token_at_forty_percent_of_the_data_sheet():
    """6 P per token (Kaplan et al. 2020), over 0.4 x 312 TFLOP/s of an A100."""
    asked = experiment()
    shapes = role_shapes(asked)
    weights = next(shape for shape in shapes if shape.role == "policy").num_weights
    found = epoch_seconds(asked, shapes, read_hardware("1xa100-80gb"), SFT, 10**9)
    assert found == pytest.approx(6 * weights * 10**9 / (0.4 * 312e12))


def test_frozen_weights_save_two_and_recomputing_costs_two():
    plain = seconds_of(experiment(), {SFT: 10**9}, prompts=False)["sft"]
    again = experiment(engine={"backend": "deepspeed", "gradient_checkpointing": True})
    assert seconds_of(again, {SFT: 10**9}, prompts=False)["sft"] == pytest.approx(plain * 8 / 6)
    adapters = seconds_of(experiment(peft={"method": "lora"}), {SFT: 10**9}, prompts=False)["sft"]
    assert plain * 4 / 6 < adapters < plain


def test_epochs_multiply_and_ppo_is_there_when_it_runs():
    once = seconds_of(experiment(), {SFT: 10**6, REWARD_MODEL: 10**6}, prompts=False)
    thrice = seconds_of(experiment(sft={"num_epochs": 3.0}), {SFT: 10**6}, prompts=True)
    assert thrice["sft"] == pytest.approx(3 * once["sft"])
    assert set(once) == {"sft", "reward_model"}
    assert thrice["ppo"] > 0


def test_without_a_model_there_is_nothing_to_predict():
    with pytest.raises(ConfigError, match="policy.path is not set"):
        seconds_of(models.experiment("deepspeed"), {SFT: 1}, prompts=False)
