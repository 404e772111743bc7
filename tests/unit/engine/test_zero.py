"""ZeroEngine's pure functions; tests/contract/test_engines.py tests the engine itself."""

from __future__ import annotations

import pytest

from rlhf.config.engine import EngineConfig
from rlhf.engine.zero import effective_stage

FP32, BF16 = EngineConfig(), EngineConfig(precision="bf16")


@pytest.mark.parametrize(
    ("stage", "config", "trainable", "wanted"),
    [
        (0, FP32, True, 0),
        (2, FP32, True, 2),
        (0, BF16, True, 1),
        (3, BF16, True, 3),
        (0, BF16, False, 0),
        (2, FP32, False, 0),
        (3, FP32, False, 3),
    ],
)
def test_the_stage_deepspeed_is_given(stage, config, trainable, wanted):
    assert effective_stage(stage, config, trainable=trainable) == wanted
