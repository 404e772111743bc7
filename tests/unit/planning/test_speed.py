"""Speed: each phase's formula by hand."""

from __future__ import annotations

import pytest

from rlhf.planning.fit import assess
from rlhf.planning.hardware import read_hardware
from rlhf.planning.shapes import role_shapes
from rlhf.planning.speed import ON_GPU, speed

P, ROWS, T = 6_738_415_616, 64, 640
ALONE = {"gpus_per_rank": 1.0, "policy": {"ranks": 8, "zero_stage": 2}}


def timed(experiment, hardware="16xh100"):
    return speed(assess(experiment, role_shapes(experiment), read_hardware(hardware)))


def test_writing_is_bound_by_bandwidth(planned):
    found = timed(planned(cluster=ALONE))
    cached = 8 * (512 + 64) * 2 * 32 * 4096 * 2
    step = (2 * P + cached) / 3350e9 / ON_GPU.write
    reading = 2 * P * 8 * 512 / 989e12 / ON_GPU.score
    assert found.generate == pytest.approx(reading + 128 * step)


def test_roles_on_their_own_devices_work_at_the_same_time(planned):
    found = timed(planned(cluster=ALONE))
    alone = 2 * P * ROWS * T / 989e12 / ON_GPU.score  # the reference has one rank
    assert found.score == pytest.approx(alone)
    assert found.offload == 0


def test_learning_is_six_products_a_weight_and_token(planned):
    found = timed(planned(cluster={**ALONE, "value": {"ranks": 8}}))
    tokens = 2 * 4 * 4 * T
    compute = 6 * P * tokens / 989e12 / ON_GPU.learn
    once = 2 * P * 7 / 8 / (450e9 * ON_GPU.link)
    assert found.learn == pytest.approx(compute + 8 * 2 * once)
    more = timed(planned(cluster=ALONE, engine={"gradient_checkpointing": True}))
    assert more.learn > found.learn


def test_tokens_and_hours(planned):
    found = timed(planned(cluster=ALONE))
    assert found.num_tokens == ROWS * T
    assert found.tokens_per_second == pytest.approx(ROWS * T / found.step)
    assert found.hours == pytest.approx(100 * found.step / 3600)


def test_a_slower_network_shows(planned):
    row = {"ranks": 8, "zero_stage": 3}
    cluster = {"gpus_per_rank": 1.0, "policy": row, "value": row}
    near, far = timed(planned(cluster=cluster)), timed(planned(cluster=cluster), "16x1xh100")
    assert far.generate > near.generate
    assert far.learn > near.learn
