"""Generalised advantage estimation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rlhf.algo.advantages import gae, lambda_returns
from rlhf.algo.masking import masked_whiten
from rlhf.flow.tensors import length_mask

LENGTHS = torch.tensor([6, 1, 4, 2])


def problem() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    rewards = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    values = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    return rewards, values, length_mask(LENGTHS, 6)


def test_lambda_1_is_return_less_value() -> None:
    # correctness 36
    rewards, values, mask = problem()
    to_go = (rewards * mask).flip(1).cumsum(1).flip(1)
    expected = torch.where(mask, to_go - values, 0.0)
    assert torch.allclose(gae(rewards, values, mask, 1.0, 1.0), expected, atol=1e-12)


def test_lambda_0_is_the_one_step_error() -> None:
    # correctness 36: V after the end is 0.
    rewards, values, mask = problem()
    after = torch.cat([(values * mask)[:, 1:], torch.zeros(4, 1)], dim=1)
    expected = torch.where(mask, rewards + 0.9 * after - values, 0.0)
    assert torch.allclose(gae(rewards, values, mask, 0.9, 0.0), expected, atol=1e-12)


def test_one_token_is_reward_less_value() -> None:
    # correctness 36: R == 1.
    advantages = gae(
        torch.tensor([[3.0]]), torch.tensor([[1.0]]), torch.ones(1, 1).bool(), 1.0, 0.9
    )
    assert advantages.tolist() == [[2.0]]


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e9])
def test_padding_never_enters(poison: float) -> None:
    # correctness 37: bit for bit.
    rewards, values, mask = problem()
    dirty = [torch.where(mask, x, poison) for x in (rewards, values)]
    for function in (gae, lambda_returns):
        clean = function(rewards, values, mask, 0.99, 0.95)
        assert torch.equal(function(dirty[0], dirty[1], mask, 0.99, 0.95), clean)
        assert torch.all(clean[~mask] == 0)


def test_a_ragged_batch_equals_each_row_alone() -> None:
    # correctness 37
    rewards, values, mask = problem()
    together = gae(rewards, values, mask, 0.99, 0.95)
    for row, length in enumerate(LENGTHS.tolist()):
        window = (slice(row, row + 1), slice(0, length))
        alone = gae(rewards[window], values[window], mask[window], 0.99, 0.95)
        assert torch.equal(together[window], alone)


def test_returns_are_made_before_whitening() -> None:
    # correctness 38: returns - values == unwhitened advantages.
    rewards, values, mask = problem()
    advantages = gae(rewards, values, mask, 1.0, 0.95)
    returns = lambda_returns(rewards, values, mask, 1.0, 0.95)
    assert torch.allclose((returns - values)[mask], advantages[mask], atol=1e-12)
    assert not torch.allclose(masked_whiten(advantages, mask), advantages, atol=1e-3)


def test_value_targets_may_have_their_own_lambda() -> None:
    # correctness 43: lambda 1 gives Monte-Carlo returns, whatever the values are.
    rewards, values, mask = problem()
    to_go = (rewards * mask).flip(1).cumsum(1).flip(1)
    returns = lambda_returns(rewards, values, mask, 1.0, 1.0)
    assert torch.allclose(returns, torch.where(mask, to_go, 0.0), atol=1e-12)
