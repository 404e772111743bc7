"""Model memory: bytes by ZeRO stage, as docs/planning.md tabulates them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlhf.planning.model_memory import Model, model_memory

P, N, B = 1000, 4, 10
WHOLE = Model(
    num_weights=P, num_trainable=P, largest_weight=100, ranks=N, stage=0, number_bytes=4, bucket=B
)


@pytest.mark.parametrize(
    ("stage", "size", "weights", "optimizer", "gradients", "stays", "bucket"),
    [
        (0, 4, 4 * P, 8 * P, 4 * P, 0, 0),
        (1, 4, 4 * P, 12 * P / N, 4 * P, 0, 4 * B),
        (1, 2, 2 * P, 12 * P / N, 6 * P, 4 * P, 0),
        (2, 2, 2 * P, 12 * P / N, 4 * P / N, 0, 2 * B),
        (3, 4, 4 * P / N, 12 * P / N, 4 * P / N, 4 * P / N, 4 * B),
        (3, 2, 2 * P / N, 12 * P / N, 4 * P / N, 4 * P / N, 2 * B),
    ],
)
def test_a_role_that_learns(stage, size, weights, optimizer, gradients, stays, bucket):
    found = model_memory(replace(WHOLE, stage=stage, number_bytes=size))
    assert (found.weights, found.optimizer, found.gradients) == (weights, optimizer, gradients)
    assert (found.always_gradients, found.buckets) == (stays, bucket)
    assert found.gathered == (size * P if stage == 3 else 0)


def test_a_frozen_role_is_its_weights():
    frozen = replace(WHOLE, num_trainable=0)
    assert model_memory(frozen).resting == 4 * P
    assert model_memory(replace(frozen, stage=3)).resting == 4 * P / N


def test_adapters_leave_a_frozen_base():
    found = model_memory(
        replace(WHOLE, num_weights=P + 8, num_trainable=8, stage=1, number_bytes=2)
    )
    assert (found.weights, found.optimizer, found.gradients) == (2 * (P + 8), 24, 48)


def test_offload_moves_bytes_to_the_host():
    on_device = model_memory(replace(WHOLE, stage=3, number_bytes=2))
    optimizer = model_memory(replace(WHOLE, stage=3, number_bytes=2, offload="optimizer"))
    weights = model_memory(replace(WHOLE, stage=3, number_bytes=2, offload="weights"))
    assert (optimizer.optimizer, optimizer.weights) == (0, on_device.weights)
    assert optimizer.host >= on_device.optimizer
    assert (weights.weights, weights.host) == (0, optimizer.host + on_device.weights)
