"""The clips of the policy's loss: unequal sides, and the bound on bad tokens that became likely."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rlhf.algo.losses import Clip, PolicyLoss, policy_loss

HIGHER = Clip(0.2, 0.28)


def one_token(ratio: float, advantage: float, clip: Clip) -> tuple[PolicyLoss, float]:
    """Return the loss of a token and its gradient by the logprob."""
    logprobs = torch.tensor([math.log(ratio)], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    result = policy_loss(
        logprobs, zero, torch.full_like(zero, advantage), torch.ones(1).bool(), clip
    )
    (gradient,) = torch.autograd.grad(result.loss, logprobs)
    return result, gradient.item()


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "gradient", "clipped"),
    [
        (1.0, 1.25, -1.25, -1.25, 0),  # beyond 1.2, within 1.28: still learned
        (1.0, 1.3, -1.28, 0.0, 1),
        (1.0, 0.75, -0.75, -0.75, 0),
        (-1.0, 1.3, 1.3, 1.3, 0),
        (-1.0, 0.75, 0.8, 0.0, 1),  # the lower side is still 0.2
        (-1.0, 0.79, 0.8, 0.0, 1),
        (-1.0, 0.85, 0.85, 0.85, 0),
        (1.0, 1.0, -1.0, -1.0, 0),
    ],
)
def test_the_quadrants_of_clip_higher(
    advantage: float, ratio: float, loss: float, gradient: float, clipped: int
) -> None:
    # correctness 47: ratio within [0.8, 1.28].
    result, found = one_token(ratio, advantage, HIGHER)
    assert result.loss.item() == pytest.approx(loss)
    assert found == pytest.approx(gradient)
    assert (result.clipped, result.dual_clipped) == (clipped, 0)


def test_dual_clip_bounds_a_bad_token_that_became_likely() -> None:
    # correctness 46: ratio 10, A = -1, dual 3 -> loss 3, gradient 0; without it 10 and 10.
    result, gradient = one_token(10.0, -1.0, Clip(0.2, 0.2, dual=3.0))
    assert (result.loss.item(), gradient) == (3.0, 0.0)
    assert (result.clipped, result.dual_clipped) == (0, 1)
    result, gradient = one_token(10.0, -1.0, Clip(0.2, 0.2))
    assert (result.loss.item(), gradient) == pytest.approx((10.0, 10.0))
    assert result.dual_clipped == 0


@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 1.25, 2.9, 3.1, 10.0, 1e6])
@pytest.mark.parametrize("advantage", [-2.0, -1e-3, 0.0, 1e-3, 2.0])
def test_dual_clip_is_active_only_below_0_and_above_its_bound(
    ratio: float, advantage: float
) -> None:
    # correctness 46: never for A > 0; elsewhere loss and gradient are the plain clip's.
    result, gradient = one_token(ratio, advantage, Clip(0.2, 0.28, dual=3.0))
    plain, plain_gradient = one_token(ratio, advantage, HIGHER)
    assert result.dual_clipped == float(advantage < 0 and ratio > 3)
    if result.dual_clipped:
        assert (result.loss.item(), gradient) == (3 * abs(advantage), 0.0)
    else:
        assert (result.loss, gradient) == (plain.loss, plain_gradient)
    assert result.clipped == plain.clipped


@pytest.mark.parametrize("ratio", [1.05, 1.2, 5.0])
def test_a_tight_dual_bound_never_touches_a_good_token(ratio: float) -> None:
    # correctness 46: even where it is tighter than the upper clip.
    result, gradient = one_token(ratio, 1.0, Clip(0.2, 0.28, dual=1.01))
    plain, plain_gradient = one_token(ratio, 1.0, HIGHER)
    assert result.dual_clipped == 0
    assert (result.loss, gradient) == (plain.loss, plain_gradient)


def noise(seed: int) -> Tensor:
    return torch.randn(400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("clip", [HIGHER, Clip(0.2, 0.2, dual=3.0), Clip(0.1, 0.3, dual=1.5)])
def test_a_weight_may_go_into_the_advantages(clip: Clip) -> None:
    # correctness 46, 47, 63: positively homogeneous, token by token; also 0.
    mask = torch.ones(400).bool()
    weights = torch.linspace(0, 4, 400, dtype=torch.float64)
    logprobs = (1.5 * noise(0)).requires_grad_()
    inside = policy_loss(logprobs, noise(1), weights * noise(2), mask, clip)
    one_each = [
        policy_loss(logprobs[i : i + 1], noise(1)[i : i + 1], noise(2)[i : i + 1], mask[:1], clip)
        for i in range(400)
    ]
    outside = sum(w * one.loss for w, one in zip(weights, one_each, strict=True))
    assert isinstance(outside, Tensor)
    found, expected = (torch.autograd.grad(x, logprobs)[0] for x in (inside.loss, outside))
    assert inside.loss.item() == pytest.approx(outside.item(), rel=1e-12)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-14)
    num_held = sum(one.dual_clipped.item() for one in one_each[1:])
    assert inside.dual_clipped == num_held
    assert bool(num_held) == (clip.dual is not None)
