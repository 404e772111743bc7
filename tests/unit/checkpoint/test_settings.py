"""Settings that decide a result are compared; those that do not are free."""

from __future__ import annotations

import pytest

from rlhf.catalog.stages import PPO, SFT, STAGES_OF
from rlhf.checkpoint.settings import FREE, deciding, differences
from rlhf.config.experiment import Experiment
from rlhf.config.load import keys, load


def settings(stage: str, mapping: dict[str, object]) -> dict[str, object]:
    (record,) = STAGES_OF[stage]
    return deciding(record, load(mapping).model_dump())


def test_every_listed_name_is_a_setting() -> None:
    known = list(keys(Experiment))
    for name in {*FREE, "ppo.num_steps"}:
        assert any(key == name or key.startswith(f"{name}.") for key in known), name


def test_ppo_reads_of_the_reward_model_only_its_path() -> None:
    read = deciding(PPO, Experiment().model_dump())
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


LATER = ("ppo.discount", "policy.optimizer.betas", "data.split_by", "generation.temperature")


def of_an_older_release(stage: str) -> list[str]:
    """Settings that counted before those of LATER were there."""
    return [path for path in settings(stage, {}) if path not in LATER]


def test_a_setting_that_came_later_changes_nothing_at_its_default() -> None:
    known = of_an_older_release("ppo")
    config = load({}).model_dump()
    assert all(path in settings("ppo", {}) for path in LATER)
    assert deciding(PPO, config, known).keys() == set(known)
    assert deciding(PPO, config, list(settings("ppo", {}))) == deciding(PPO, config)


def test_a_setting_that_came_later_counts_once_it_is_set() -> None:
    known = of_an_older_release("ppo")
    config = load({"ppo": {"discount": 0.9}}).model_dump()
    assert deciding(PPO, config, known).keys() == {*known, "ppo.discount"}


def test_a_later_default_that_follows_another_setting_is_a_default() -> None:
    known = [path for path in settings("sft", {}) if path != "sft.optimizer.lr"]
    lora = load({"peft": {"method": "lora"}}).model_dump()
    assert lora["sft"]["optimizer"]["lr"] != load({}).sft.optimizer.lr
    assert "sft.optimizer.lr" not in deciding(SFT, lora, known)


def test_a_later_setting_of_a_section_that_is_off_by_default_is_known_by_its_default() -> None:
    new: dict[str, object] = {"policy": {"new": {"hidden_size": 64}}}
    whole = settings("sft", new)
    known = [path for path in whole if path != "policy.new.num_layers"]
    assert deciding(SFT, load(new).model_dump(), known).keys() == set(known)


def test_what_counted_in_a_folder_counts_there_for_good() -> None:
    config = load({}).model_dump()
    assert "engine.threads" in deciding(PPO, config, ["engine.threads"])


def test_what_the_settings_before_it_do_not_go_without_counts() -> None:
    overlong: dict[str, object] = {"ppo": {"overlong_penalty": 1.0, "overlong_buffer": 2}}
    known = [path for path in settings("ppo", overlong) if path != "ppo.overlong_buffer"]
    assert deciding(PPO, load(overlong).model_dump(), known)["ppo.overlong_buffer"] == 2
