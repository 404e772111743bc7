"""zero_config: DeepSpeed's settings, as a pure function."""

from __future__ import annotations

import pytest

from rlhf.config.engine import EngineConfig
from rlhf.engine.zero_config import Holding, laid_over, zero_config


def settings(precision="fp32", *, raw=None, **held):
    config = EngineConfig(precision=precision, deepspeed=raw or {})
    return zero_config(config, Holding(**{"stage": 0, "max_grad_norm": 0.5, **held}))


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


@pytest.mark.parametrize(
    ("stage", "offload", "wanted"),
    [
        (0, "weights", set()),
        (1, "none", set()),
        (1, "optimizer", {"offload_optimizer"}),
        (2, "weights", {"offload_optimizer"}),
        (3, "optimizer", {"offload_optimizer"}),
        (3, "weights", {"offload_optimizer", "offload_param"}),
    ],
)
def test_what_is_asked_for_waits_in_host_memory(stage, offload, wanted):
    told = settings(stage=stage, offload=offload)["zero_optimization"]
    assert {key for key in told if key.startswith("offload")} == wanted
    assert all(told[key]["device"] == "cpu" for key in wanted)


def test_memory_is_page_locked_for_a_gpu_alone():
    for device, pinned in (("cpu", False), ("cuda", True)):
        told = settings(stage=1, offload="optimizer", device=device)["zero_optimization"]
        assert told["offload_optimizer"]["pin_memory"] is pinned


def test_raw_settings_lie_over_ours():
    raw = {
        "prescale_gradients": True,
        "zero_optimization": {"overlap_comm": True, "offload_optimizer": {"pin_memory": True}},
    }
    told = settings(raw=raw, stage=2, offload="optimizer")
    assert told["prescale_gradients"] is True
    assert told["zero_optimization"] == {
        "stage": 2,
        "overlap_comm": True,
        "reduce_bucket_size": 1,
        "offload_optimizer": {"device": "cpu", "pin_memory": True},
    }
    assert settings(raw=raw, stage=0)["zero_optimization"] == {"stage": 0}


def test_laying_over_changes_neither_side():
    ours, raw = {"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": {"x": 9}}, "d": {"y": 0}, "e": 4}
    merged = laid_over(ours, raw)
    assert merged == {"a": {"b": {"x": 9}, "c": 2}, "d": {"y": 0}, "e": 4}
    merged["a"]["c"] = 5
    assert ours == {"a": {"b": 1, "c": 2}, "d": 3}
    assert raw == {"a": {"b": {"x": 9}}, "d": {"y": 0}, "e": 4}
