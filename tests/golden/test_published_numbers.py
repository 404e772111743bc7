"""Numbers printed in the papers, and in the notes on their code."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.kl import AdaptiveKL
from rlhf.algo.losses import Clip, policy_loss
from rlhf.algo.masking import masked_moments, masked_whiten


def test_whitening_uses_the_biased_variance() -> None:
    # correctness 39: without the mean shift the corners are 0.05081 and 3.1492; the unbiased
    # variance would give 0.1394 and 3.0606.
    x = torch.tensor([[1.2, 1.3, 1.4], [1.5, 1.6, 1.7], [1.8, 1.9, 2.0]])
    mask = torch.ones(3, 3, dtype=torch.bool)
    mean, variance = masked_moments(x, mask)
    assert variance.item() == pytest.approx(0.2 / 3, rel=1e-5)
    unshifted = masked_whiten(x, mask) + mean
    assert unshifted[0, 0].item() == pytest.approx(0.05081, abs=5e-6)
    assert unshifted[2, 2].item() == pytest.approx(3.1492, abs=5e-5)


def test_the_adaptive_coefficient_moves_as_in_ziegler() -> None:
    # correctness 35: target 6, KL 12, 512 responses, 0.15 -> 0.15 * (1 + 0.2 * 0.0512).
    controller = AdaptiveKL(0.15, 6.0, 10_000)
    controller.observe(12.0, 512)
    assert controller.coef == pytest.approx(0.151536, abs=1e-9)
    controller = AdaptiveKL(0.15, 6.0, 10_000)
    controller.observe(6.6, 512)
    assert controller.coef == pytest.approx(0.15 * (1 + 0.1 * 0.0512), abs=1e-12)
    controller = AdaptiveKL(0.15, 6.0, 10_000)
    controller.observe(0.0, 512)
    assert controller.coef == pytest.approx(0.148464, abs=1e-9)


@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "gradient", "clipped"),
    [
        (1.0, 1.5, -1.2, 0.0, 1),
        (1.0, 0.5, -0.5, -0.5, 0),
        (-1.0, 1.5, 1.5, 1.5, 0),
        (-1.0, 0.5, 0.8, 0.0, 1),
        (2.0, 1.1, -2.2, -2.2, 0),
        (-2.0, 0.9, 1.8, 1.8, 0),
        (1.0, 1.0, -1.0, -1.0, 0),
        (0.0, 1.5, 0.0, 0.0, 0),
    ],
)
def test_the_four_quadrants_of_the_clip(
    advantage: float, ratio: float, loss: float, gradient: float, clipped: int
) -> None:
    # correctness 44: the gradient is 0 exactly when (A > 0, ratio > 1.2) or (A < 0, ratio < 0.8);
    # elsewhere it is -A * ratio, since d ratio / d logprob = ratio.
    logprobs = torch.tensor([ratio], dtype=torch.float64).log().requires_grad_()
    result = policy_loss(
        logprobs,
        torch.zeros(1, dtype=torch.float64),
        torch.tensor([advantage], dtype=torch.float64),
        torch.ones(1, dtype=torch.bool),
        Clip(0.2, 0.2),
    )
    result.loss.backward()
    assert logprobs.grad is not None
    assert result.loss.item() == pytest.approx(loss)
    assert logprobs.grad.item() == pytest.approx(gradient)
    assert result.clipped == clipped
