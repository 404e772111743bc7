"""GAE against the double sum of its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rlhf.algo.advantages import gae, lambda_returns
from rlhf.flow.tensors import length_mask


def brute_force(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    """Schulman et al. 2016, eq. 11 and 16: A_t = sum over l of (gamma lambda)^l delta_{t+l}."""
    values = [*values, 0.0]
    end = len(rewards)
    return [
        sum(
            (discount * gae_lambda) ** (s - t) * (rewards[s] + discount * values[s + 1] - values[s])
            for s in range(t, end)
        )
        for t in range(end)
    ]


def reversed_scan(
    rewards: list[float], values: list[float], discount: float, gae_lambda: float
) -> list[float]:
    """G_t = r_t + gamma ((1 - lambda) V_{t+1} + lambda G_{t+1}), less V_t."""
    values = [*values, 0.0]
    result: list[float] = []
    later = 0.0
    for t in reversed(range(len(rewards))):
        later = rewards[t] + discount * ((1 - gae_lambda) * values[t + 1] + gae_lambda * later)
        result.append(later - values[t])
    return result[::-1]


@pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_gae_equals_its_definition(discount: float, gae_lambda: float) -> None:
    # correctness 36: loop == reversed scan == brute force, 1e-12 in float64.
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([12, 1, 7, 2, 11])
    rewards = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    values = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    mask = length_mask(lengths, 12)
    advantages = gae(rewards, values, mask, discount, gae_lambda)
    returns = lambda_returns(rewards, values, mask, discount, gae_lambda)
    for row, length in enumerate(lengths.tolist()):
        r, v = rewards[row, :length].tolist(), values[row, :length].tolist()
        expected = torch.tensor(brute_force(r, v, discount, gae_lambda), dtype=torch.float64)
        scanned = torch.tensor(reversed_scan(r, v, discount, gae_lambda), dtype=torch.float64)
        close(advantages[row, :length], expected)
        close(advantages[row, :length], scanned)
        close(returns[row, :length], expected + values[row, :length])


def close(found: Tensor, expected: Tensor) -> None:
    """Assert equality to 1e-12."""
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
