"""Value: read before each token is written; fitted to the returns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.models import experience, optimizer, rollout


def experienced(value, written):
    return experience(written, torch.zeros(written.response_mask_BR.shape), value.values(written))


def test_a_value_does_not_know_its_token_but_the_next_one_does(role):
    value, written = role("value"), rollout(7)
    before_BR = value.values(written)
    row, slot = 2, 1
    tokens_BT = written.tokens_BT.clone()
    tokens_BT[row, int(written.prompt_lengths_B[row]) + slot] += 1
    after_BR = value.values(replace(written, tokens_BT=tokens_BT))
    changed_BR = (after_BR - before_BR).abs() > 1e-6
    assert not changed_BR[row, : slot + 1].any()
    assert changed_BR[row, slot + 1 : int(written.response_lengths_B[row])].all()
    assert not changed_BR[torch.arange(7) != row].any()
    assert int(written.response_lengths_B[row]) > slot + 1


def test_a_zero_head_expects_nothing(role):
    value = role("value", model="causal", part={"head": "zero"})
    assert not value.values(rollout(7)).any()


def test_padding_is_zero(role):
    written = rollout(7)
    assert not role("value").values(written)[~written.response_mask_BR].any()


def test_the_loss_starts_as_half_the_mean_square(role):
    value, written = role("value", ppo={"minibatch_size": 8, "num_epochs": 1}), rollout(8)
    batch, mask_BR = experienced(value, written), written.response_mask_BR
    error_N = (batch.old_values_BR - batch.returns_BR)[mask_BR]
    wanted = float(0.5 * error_N.square().mean())
    assert value.improve(batch, 0)["loss/value_avg"] == pytest.approx(wanted, rel=1e-5)


def test_it_comes_nearer_to_the_returns(role):
    value = role("value", value={"optimizer": optimizer(lr=1e-2)}, ppo={"num_epochs": 8})
    written = rollout(8)
    batch, mask_BR = experienced(value, written), written.response_mask_BR

    def error():
        return float((value.values(written) - batch.returns_BR)[mask_BR].square().mean())

    before = error()
    value.improve(batch, 0)
    assert error() < 0.9 * before


def test_microbatches_change_no_update(role):
    weights = []
    for max_tokens in (26, 100_000):
        engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
        value = role("value", engine=engine)
        value.improve(experienced(value, rollout(8)), 0)
        weights.append(value.engine.weights())
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, rtol=1e-5, atol=1e-6)
