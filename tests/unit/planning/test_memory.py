"""Memory: phases of one rank, by hand; tests/contract/test_planning.py holds them to real ranks."""

from __future__ import annotations

import pytest

from rlhf.planning.hardware import GIB, read_hardware
from rlhf.planning.memory import role_memory
from rlhf.planning.shapes import role_shapes

H100 = read_hardware("8xh100").device()
P = 6_738_415_616


def policy(experiment):
    shape = next(shape for shape in role_shapes(experiment) if shape.writes)
    return role_memory(shape, experiment, H100)


def test_auto_is_bf16_and_stage_0_runs_as_1(planned):
    found = policy(planned())
    assert (found.model.number_bytes, found.model.stage) == (2, 1)
    assert found.resting == 2 * P + 12 * P + 4 * P


def test_keys_and_values(planned):
    found = policy(planned(cluster={"policy": {"ranks": 8, "zero_stage": 2}}))
    assert found.num_slots == 8  # 64 rows over 8 ranks
    assert found.cache == 8 * (512 + 128) * 2 * 32 * 4096 * 2


def test_slots_are_what_memory_leaves(planned):
    sections = {
        "cluster": {"policy": {"ranks": 8, "zero_stage": 3}},
        "ppo": {"rollout_batch_size": 4096, "minibatch_size": 512},
        "generation": {"max_new_tokens": 3500, "batch_size": 512},
    }
    found = policy(planned(**sections))
    free = 80 * GIB - found.resting - 2 * P
    assert found.copy == 2 * P
    assert found.num_slots == int(0.9 * free / (2 * 32 * 4096 * 4 * 4012)) < 512


def test_peak_is_the_largest_phase(planned):
    found = policy(planned(cluster={"policy": {"ranks": 8, "zero_stage": 2}}))
    assert set(found.phases) == {"generate", "score", "learn", "step"}
    assert found.peak == found.phases["learn"] == max(found.phases.values())


def test_checkpointing_lowers_the_peak(planned):
    less = policy(planned(engine={"gradient_checkpointing": True}))
    assert less.activations < policy(planned()).activations / 10


@pytest.mark.parametrize("bucket", [1_000_000, 500_000_000])
def test_raw_settings_size_the_bucket(planned, bucket):
    raw = {"deepspeed": {"zero_optimization": {"reduce_bucket_size": bucket}}}
    row = {"policy": {"ranks": 8, "zero_stage": 3}}
    found = policy(planned(engine=raw, cluster=row))
    assert found.model_memory.always_buckets == 2 * bucket
