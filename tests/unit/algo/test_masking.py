"""Masked sums, means and whitening."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.algo.advantages import gae
from rlhf.algo.masking import masked_mean, masked_moments, masked_sum, masked_whiten, zero_padding
from rlhf.flow.tensors import length_mask

POISONS = [math.nan, math.inf, -math.inf, 1e9]


@pytest.mark.parametrize("poison", POISONS)
def test_poison_at_padding_changes_no_result(poison: float) -> None:
    # correctness 37: what stands at padding is never read.
    mask = torch.tensor([[True, True, False], [True, False, False]])
    clean = torch.tensor([[1.0, 2.0, 0.0], [6.0, 0.0, 0.0]])
    dirty = torch.where(mask, clean, poison)
    assert masked_sum(dirty, mask) == 9
    assert masked_mean(dirty, mask) == 3
    assert masked_moments(dirty, mask)[1] == pytest.approx(14 / 3)
    assert torch.equal(masked_whiten(dirty, mask), masked_whiten(clean, mask))


@pytest.mark.parametrize("poison", POISONS)
def test_poison_at_padding_gets_zero_gradient(poison: float) -> None:
    # correctness 37: gradients too.
    mask = torch.tensor([True, False])
    x = torch.tensor([2.0, poison], requires_grad=True)
    zero_padding(x, mask).exp().sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [pytest.approx(math.exp(2)), 0.0]


def test_an_empty_mask_gives_zeros() -> None:
    x, mask = torch.full((2, 2), math.nan), torch.zeros(2, 2, dtype=torch.bool)
    assert masked_mean(x, mask) == 0
    assert torch.equal(masked_whiten(x, mask), torch.zeros(2, 2))


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=6),
    shift=st.floats(-1e3, 1e3),
    seed=st.integers(0, 1000),
)
def test_whitened_values_have_mean_0_and_variance_1(
    lengths: list[int], shift: float, seed: int
) -> None:
    # correctness 40: over masked tokens, within 1e-5; zeros at padding.
    mask = length_mask(torch.tensor(lengths), 6)
    noise = torch.randn(mask.shape, generator=torch.Generator().manual_seed(seed))
    white = masked_whiten(noise + shift, mask)
    mean, variance = masked_moments(white.double(), mask)
    assert abs(mean.item()) < 1e-5
    assert abs(variance.item() - 1) < 1e-5
    assert torch.all(white[~mask] == 0)


@pytest.mark.parametrize("constant", [0.0, 0.1, -3.3, 1e4])
def test_constant_values_whiten_to_zero(constant: float) -> None:
    # correctness 40: constant input -> 0, no NaN.
    mask = torch.ones(3, 7, dtype=torch.bool)
    assert masked_whiten(torch.full((3, 7), constant), mask).abs().max() < 1e-6


def test_one_token_whitens_to_a_finite_number() -> None:
    # correctness 40: a 1-token batch is finite.
    assert masked_whiten(torch.tensor([[5.0]]), torch.tensor([[True]])).item() == 0


def test_scaling_rewards_and_values_leaves_whitened_advantages() -> None:
    # correctness 41: rewards * c and values * c change nothing.
    generator = torch.Generator().manual_seed(0)
    rewards = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    values = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    mask = length_mask(torch.tensor([5, 2, 3, 1]), 5)
    plain = masked_whiten(gae(rewards, values, mask, 1.0, 0.95), mask)
    scaled = masked_whiten(gae(7 * rewards, 7 * values, mask, 1.0, 0.95), mask)
    assert torch.allclose(plain, scaled, atol=1e-6)


def test_a_constant_a_token_is_a_length_reward() -> None:
    # correctness 41: shifting rewards a token is harmless at equal lengths of one token only.
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    values = torch.zeros_like(rewards)
    ragged = length_mask(torch.tensor([5, 2, 3, 1]), 5)
    single = length_mask(torch.tensor([1, 1, 1, 1]), 5)

    def white(shift: float, mask: torch.Tensor) -> torch.Tensor:
        return masked_whiten(gae(rewards + shift, values, mask, 1.0, 0.95), mask)

    assert torch.allclose(white(0.0, single), white(3.0, single), atol=1e-6)
    assert not torch.allclose(white(0.0, ragged), white(3.0, ragged), atol=1e-2)


def test_a_shifted_score_with_an_exact_value_leaves_advantages() -> None:
    # correctness 18: the reward model's bias cancels where the value role has learned it.
    generator = torch.Generator().manual_seed(2)
    rewards, values = torch.randn(2, 3, 4, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([4, 2, 1])
    mask = length_mask(lengths, 4)
    bias = torch.zeros(3, 4).double()
    bias[torch.arange(3), lengths - 1] = 2.5
    plain = gae(rewards, values, mask, 1.0, 0.95)
    assert torch.allclose(gae(rewards + bias, values + 2.5, mask, 1.0, 0.95), plain, atol=1e-12)
