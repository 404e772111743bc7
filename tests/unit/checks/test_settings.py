"""Settings: all that is missing or makes no sense, at once."""

from __future__ import annotations

import pytest

from rlhf.checks.settings import check_packages, check_settings
from rlhf.errors import ConfigError


def test_all_packages_are_named(context):
    said = check_packages(context())
    assert "ray 2." in said
    assert "python 3." in said


def test_settings_that_would_run(context):
    assert check_settings(context("pipeline")) == "pipeline would run ppo"


def test_everything_missing_is_reported(context):
    bare = context(policy={}, data={}, reward={}, ppo={"advantage_estimator": "grop"})
    with pytest.raises(ConfigError) as caught:
        check_settings(bare)
    told = str(caught.value).splitlines()
    assert [line.split()[0] for line in told] == [
        "data.prompts",
        "policy.path",
        "ppo",
        "ppo.advantage_estimator=grop:",
    ]
    assert told[-1].endswith("nearest: grpo")


def test_an_estimator_that_compares_needs_responses_to_compare(context):
    with pytest.raises(ConfigError, match=r"samples_per_prompt=1; legal: 2 or more"):
        check_settings(context(ppo={"advantage_estimator": "rloo"}))


def test_the_policy_does_not_wait_for_a_value_role_that_is_not_there(context):
    asked = {"advantage_estimator": "reinforce_pp", "value_warmup_steps": 2}
    with pytest.raises(ConfigError, match=r"value_warmup_steps=2 .* has none; legal: 0"):
        check_settings(context(ppo=asked))
