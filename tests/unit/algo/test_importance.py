"""Weights of tokens that another policy drew."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf.algo.importance import truncated_importance
from rlhf.algo.losses import Clip, policy_loss
from rlhf.flow.tensors import length_mask

MASK = length_mask(torch.tensor([4, 2, 3]), 4)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed))


def test_the_weight_is_the_ratio_up_to_the_cap() -> None:
    # correctness 63
    weight = truncated_importance(noise(0), noise(1), MASK, 2.0)
    expected = (noise(0).double() - noise(1).double()).exp().clamp(max=2.0)
    assert torch.allclose(weight[MASK].double(), expected[MASK], rtol=1e-5)
    assert weight.max() == 2.0
    assert weight[MASK].min() < 0.5, "small ratios are not held"
    assert torch.all(weight[~MASK] == 0)


def test_the_same_policy_has_weight_exactly_1_and_the_same_loss() -> None:
    # correctness 63: w == 1 and no change of loss or gradient, bit for bit.
    weight = truncated_importance(noise(0), noise(0).clone(), MASK, 1.0)
    assert torch.equal(weight, MASK.float())
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for gains in (noise(2), noise(2) * weight):
        logprobs = (noise(0) + 0.3 * noise(3)).requires_grad_()
        loss = policy_loss(logprobs, noise(0), gains, MASK, Clip(0.2, 0.2)).loss
        (gradient,) = torch.autograd.grad(loss, logprobs)
        found.append((loss.detach(), gradient))
    for plain, weighted in zip(*found, strict=True):
        assert torch.equal(plain, weighted)


def test_no_gradient_flows_through_the_weight() -> None:
    # correctness 63: the gradient is that of weights which are mere numbers.
    logprobs, sampling = noise(0).requires_grad_(), noise(1).requires_grad_()
    weight = truncated_importance(logprobs, sampling, MASK, 2.0)
    assert not weight.requires_grad
    (logprobs * weight).sum().backward()
    assert logprobs.grad is not None
    assert torch.equal(logprobs.grad, weight)
    assert sampling.grad is None


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e9])
def test_padding_never_enters(poison: float) -> None:
    # correctness 37, 63: bit for bit.
    logprobs, sampling = (torch.where(MASK, noise(seed), poison) for seed in (0, 1))
    clean = truncated_importance(noise(0), noise(1), MASK, 2.0)
    assert torch.equal(truncated_importance(logprobs, sampling, MASK, 2.0), clean)


@pytest.mark.parametrize(("change", "weight"), [(1000.0, 5.0), (-1000.0, 0.0)])
def test_far_policies_stay_finite(change: float, weight: float) -> None:
    # correctness 48, 63
    one = torch.ones(1, 1).bool()
    found = truncated_importance(torch.tensor([[change]]), torch.zeros(1, 1), one, 5.0)
    assert found.item() == weight
