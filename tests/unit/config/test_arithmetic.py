"""Batch arithmetic: the derived numbers, checked against a count by hand."""

from __future__ import annotations

from rlhf.catalog.stages import PPO, SFT, STAGES
from rlhf.config.arithmetic import arithmetic
from rlhf.config.load import load

SETTINGS = {
    "sft": {"batch_size": 8, "num_epochs": 1.5},
    "reward_model": {"batch_size": 16},
    "ppo": {
        "rollout_batch_size": 8,
        "samples_per_prompt": 2,
        "minibatch_size": 4,
        "num_steps": 10,
        "num_epochs": 3,
    },
}


def test_every_stage_that_has_rows_has_its_lines():
    lines = arithmetic(
        load(SETTINGS), STAGES, {"demonstrations": 34, "preferences": 33, "prompts": 40}
    )
    assert [(stage, quantity) for stage, quantity, _ in lines] == [
        ("sft", "warm-up"),
        ("sft", "optimizer steps"),
        ("reward_model", "warm-up"),
        ("reward_model", "optimizer steps"),
        ("ppo", "responses a step"),
        ("ppo", "optimizer steps a step"),
        ("ppo", "responses in all"),
        ("ppo", "warm-up of the policy"),
        ("ppo", "warm-up of the value"),
    ]
    values = [value for _, quantity, value in lines if not quantity.startswith("warm-up")]
    assert values[0].startswith("8 at most = 1.5 epochs x 5 (34 rows / 8)")
    assert values[1].startswith("3 at most = 1 epoch x 3 (33 rows / 16)")
    assert values[2] == "16 = 8 prompts x 2"
    assert values[3] == "12 = 3 epochs x 4 minibatches of 4"
    assert values[4] == "160 = 10 steps x 16 (2 epochs of 40 prompts)"


def test_a_warm_up_that_does_not_end_is_reported():
    settings = load({"policy": {"optimizer": {"warmup_steps": 9}}, **SETTINGS})
    lines = arithmetic(settings, [PPO], {"prompts": 1})
    told = {quantity: value for _, quantity, value in lines}
    assert told["warm-up of the policy"] == "9 of 10 steps"
    assert told["warm-up of the value"] == "10 of 10 steps; the peak rate is never reached"


def test_a_stage_without_rows_is_left_out():
    assert arithmetic(load(SETTINGS), STAGES, {}) == []
    assert {line[0] for line in arithmetic(load(SETTINGS), STAGES, {"prompts": 1})} == {"ppo"}


def test_a_stage_that_does_not_run_has_no_lines():
    rows = {"demonstrations": 5, "prompts": 5}
    assert {line[0] for line in arithmetic(load(SETTINGS), [SFT], rows)} == {"sft"}
