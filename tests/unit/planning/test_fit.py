"""Fit: who shares a device, what that takes, and what is short."""

from __future__ import annotations

from collections import Counter

import pytest

from rlhf.catalog.stages import PPO
from rlhf.planning.fit import CONTEXT, GIB, assess
from rlhf.planning.hardware import read_hardware
from rlhf.planning.shapes import role_shapes
from rlhf.planning.speed import speed

SIDE_BY_SIDE = {
    role: {"ranks": 8, "colocate_with": "policy"} for role in ("reference", "reward", "value")
}


def fitted(experiment, hardware="8xh100"):
    return assess(experiment, role_shapes(experiment), read_hardware(hardware))


def test_colocated_roles_sit_on_the_same_devices(planned):
    cluster = {"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 2}, **SIDE_BY_SIDE}
    groups = fitted(planned(cluster=cluster)).groups[PPO]
    assert groups == [Counter(policy=1, reference=1, reward=1, value=1)] * 8


def test_under_time_sharing_only_the_largest_counts(planned):
    cluster = {"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 2}, **SIDE_BY_SIDE}
    turns = fitted(planned(cluster=cluster))
    together = fitted(planned(cluster={**cluster, "residency": "all"}))
    most = max(memory.peak for memory in turns.memories)
    assert turns.device_bytes == most + 4 * CONTEXT
    resting = sum(memory.resting for memory in together.memories)
    growth = max(memory.peak - memory.resting for memory in together.memories)
    assert together.device_bytes == pytest.approx(resting + growth + 4 * CONTEXT)
    assert turns.host_bytes > together.host_bytes


def test_fractions_share_a_device(planned):
    cluster = {"gpus_per_rank": 0.25}
    assert fitted(planned(cluster=cluster)).groups[PPO] == [
        Counter(policy=1, reference=1, reward=1, value=1)
    ]


def test_what_is_short_is_reported_with_numbers(planned):
    fit = fitted(planned(cluster={"gpus_per_rank": 1.0, "policy": {"ranks": 8}}), "2xh100")
    assert not fit.fits
    slots, memory = fit.shortages
    assert slots == "the roles' slots need 11 GPUs, 9 more than the 2 there are"
    peak = max(memory.peak for memory in fit.memories) / GIB
    assert f"most: value, learn, {peak:,.1f} GiB" in memory


def test_cores_share_their_node(planned, tmp_path):
    file = tmp_path / "lab.yaml"
    rates = "{memory_gib: 900, tflops: 1, memory_gb_s: 100, link_gb_s: 10, is_gpu: false}"
    file.write_text(f"nodes: 2\ndevices: 8\nbf16: false\nkind: {rates}\n")
    fit = fitted(planned(cluster={"policy": {"ranks": 4}}), str(file))
    first = Counter(policy=2, reference=1, reward=1, value=1)
    assert fit.groups[PPO] == [first, Counter(policy=2)]
    assert fit.fits


@pytest.mark.parametrize("residency", ["in_turn", "all"])
def test_all_reward_models_rest_beside_the_one_that_scores(planned, residency):
    beside = {"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 2}, **SIDE_BY_SIDE}
    cluster = {**beside, "residency": residency}
    path = planned().policy.path
    three = {"sources": [{"model": path}] * 3}
    one = fitted(planned(cluster=cluster))
    many = fitted(planned(cluster=cluster, reward_model={}, reward=three))
    assert many.groups == one.groups, "they are one role, on the same devices"
    alone = next(m for m in one.memories if m.shape.role == "reward")
    assert [m.peak for m in many.memories if m.shape.role == "reward"] == [alone.peak] * 3
    more = many.device_bytes - one.device_bytes
    peak = max(memory.peak for memory in one.memories)
    wanted = max(0.0, alone.peak + 2 * alone.resting - peak)
    assert more == pytest.approx(wanted if residency == "in_turn" else 2 * alone.resting)


def test_reward_models_that_outgrow_every_other_role_are_what_a_device_needs(planned):
    cluster = {"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 2}, **SIDE_BY_SIDE}
    path = planned().policy.path
    twelve = {"sources": [{"model": path}] * 12}
    fit = fitted(planned(cluster=cluster, reward_model={}, reward=twelve))
    alone = next(m for m in fit.memories if m.shape.role == "reward")
    assert fit.device_bytes == pytest.approx(alone.peak + 11 * alone.resting + 4 * CONTEXT)
    speeds = [
        speed(fitted(planned(cluster=cluster, reward_model={}, reward={"sources": entries})))
        for entries in (twelve["sources"][:1], twelve["sources"][:3])
    ]
    assert speeds[1].score > speeds[0].score
    assert speeds[1].offload > speeds[0].offload
    assert speeds[1].learn == speeds[0].learn
