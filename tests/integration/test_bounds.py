"""Every number of every setting: absurd ones are refused in one line, and at once."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from rlhf.config.experiment import Experiment
from rlhf.config.load import keys, load
from rlhf.errors import ConfigError

ABSURD = (1e26, 10**26, 10**30, 2**63, 10**5000, math.inf, -math.inf, math.nan, -(10**30))
SIZED = (
    "policy.new.hidden_size",
    "policy.new.num_layers",
    "policy.new.num_heads",
    "policy.new.vocab_size",
    "policy.new.context",
    *(f"cluster.{role}.ranks" for role in ("policy", "reference", "reward", "value")),
    *("sft.batch_size", "sft.num_epochs", "reward_model.batch_size", "reward_model.num_epochs"),
    *("ppo.rollout_batch_size", "ppo.samples_per_prompt", "ppo.num_epochs"),
    *("generation.max_new_tokens", "generation.batch_size", "data.max_length", "data.few_shot"),
    *("data.max_prompt_length", "evaluation.samples_per_prompt", "sweep.parallel"),
)
"""Settings by which something is made before any data limits it."""


def nested(path: str, value: object) -> dict[str, Any]:
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def default(path: str) -> object:
    value: Any = Experiment().model_dump()
    for name in path.split("."):
        value = value[name] if isinstance(value, dict) else None
    return value


@pytest.mark.parametrize("path", list(keys()))
def test_no_setting_takes_an_absurd_number(path):
    for value in ABSURD:
        start = time.monotonic()
        with pytest.raises(ConfigError) as caught:
            load(nested(path, value))
        assert time.monotonic() - start < 2
        first = str(caught.value).splitlines()[0]
        assert path in first
        assert len(first) < 400


@pytest.mark.parametrize("path", SIZED)
@pytest.mark.parametrize("value", [10**9 + 1, 10**12, -1, 0.5, True])
def test_a_size_is_one_that_a_machine_may_have(path, value):
    if path == "data.few_shot" or (path.endswith("num_epochs") and value == 0.5):
        value = -1
    with pytest.raises(ConfigError, match=path):
        load(nested(path, value))


@pytest.mark.parametrize("path", SIZED)
def test_the_default_is_within_the_bounds(path):
    if (value := default(path)) is not None:
        load(nested(path, value))
