"""zero_config: what DeepSpeed is told, as a pure function."""

from __future__ import annotations

import pytest

from rlhf.config.engine import EngineConfig
from rlhf.engine.zero_config import zero_config


def settings(precision="fp32", *, stage=0, world_size=1, num_weights=1000):
    return zero_config(
        EngineConfig(precision=precision),
        stage=stage,
        world_size=world_size,
        max_grad_norm=0.5,
        num_weights=num_weights,
    )


@pytest.mark.parametrize("stage", (0, 1, 2, 3))
def test_stage_and_clip_arrive(stage):
    told = settings(stage=stage)
    assert told["zero_optimization"]["stage"] == stage
    assert told["gradient_clipping"] == 0.5
    assert ("stage3_param_persistence_threshold" in told["zero_optimization"]) is (stage == 3)


@pytest.mark.parametrize("world_size", (1, 2, 8))
def test_the_batch_equation_holds_on_any_number_of_ranks(world_size):
    told = settings(world_size=world_size)
    per_rank = told["train_micro_batch_size_per_gpu"] * told["gradient_accumulation_steps"]
    assert told["train_batch_size"] == per_rank * world_size
    assert told["managed_gradient_accumulation"] is False


@pytest.mark.parametrize(("num_weights", "bucket"), [(1000, 1000), (10**12, 500_000_000), (0, 1)])
def test_a_bucket_is_no_larger_than_what_is_reduced(num_weights, bucket):
    told = settings(stage=3, num_weights=num_weights)
    assert told["zero_optimization"]["reduce_bucket_size"] == bucket


def test_bf16_adds_gradients_up_in_fp32():
    assert settings()["bf16"] == {"enabled": False}
    assert settings("bf16")["bf16"] == {"enabled": True}
    assert settings("bf16")["data_types"] == {"grad_accum_dtype": "fp32"}
