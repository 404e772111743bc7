"""Settings that decide a result are compared; those that do not are free."""

from __future__ import annotations

import pytest

from rlhf.checkpoint.settings import FREE, NOT_READ, STAGES_OF, deciding, differences
from rlhf.config.experiment import Experiment
from rlhf.config.load import keys, load


def settings(stage: str, mapping: dict[str, object]) -> dict[str, object]:
    return deciding(stage, load(mapping).model_dump())


def test_every_listed_name_is_a_setting() -> None:
    known = list(keys(Experiment))
    for name in {*FREE, "ppo.num_steps", *(name for names in NOT_READ.values() for name in names)}:
        assert any(key == name or key.startswith(f"{name}.") for key in known), name


def test_every_stage_of_a_command_is_known() -> None:
    assert {stage for stages in STAGES_OF.values() for stage in stages} == NOT_READ.keys()


def test_ppo_reads_of_the_reward_model_only_its_path() -> None:
    read = deciding("ppo", Experiment().model_dump())
    assert [key for key in read if key.startswith("reward_model.")] == ["reward_model.path"]


@pytest.mark.parametrize(
    ("stage", "change", "decides"),
    [
        ("ppo", {"ppo": {"kl_coef": 0.1}}, True),
        ("ppo", {"seed": 1}, True),
        ("ppo", {"policy": {"optimizer": {"lr": 1e-3}}}, True),
        ("ppo", {"engine": {"precision": "bf16"}}, True),
        ("ppo", {"sft": {"num_epochs": 2}}, False),
        ("sft", {"sft": {"num_epochs": 2}}, True),
        ("sft", {"ppo": {"kl_coef": 0.1}}, False),
        ("reward_model", {"reward_model": {"center_coef": 0.1}}, True),
        ("ppo", {"tracking": {"wandb": "offline"}}, False),
        ("ppo", {"checkpoint": {"keep": 5}}, False),
        ("ppo", {"cluster": {"timeout_s": 5.0}}, False),
        ("ppo", {"engine": {"max_tokens_per_microbatch": 5}}, False),
        ("ppo", {"ppo": {"num_steps": 500}}, False),
        ("ppo", {"run_dir": "moved"}, False),
        ("ppo", {"policy": {"new": {"hidden_size": 64}}}, True),
        ("ppo", {"data": {"prompts": ["a.jsonl", {"path": "b.jsonl"}]}}, True),
    ],
)
def test_what_decides(stage: str, change: dict[str, object], decides: bool) -> None:
    assert bool(differences(settings(stage, {}), settings(stage, change))) == decides


@pytest.mark.parametrize("role", ["policy", "value"])
def test_num_steps_decides_where_a_learning_rate_is_stretched_over_it(role: str) -> None:
    linear: dict[str, object] = {role: {"optimizer": {"schedule": "linear"}}}
    longer = {**linear, "ppo": {"num_steps": 500}}
    found = differences(settings("ppo", linear), settings("ppo", longer))
    assert found == ["ppo.num_steps (100 there, 500 here)"]


def test_a_difference_shows_both_values() -> None:
    assert differences({"a": 1, "b": 2.5}, {"a": 1, "b": 3, "c": None}) == [
        "b (2.5 there, 3 here)",
        "c (not set there, None here)",
    ]


def test_text_and_number_are_told_apart() -> None:
    assert differences({"a": "1"}, {"a": 1})
