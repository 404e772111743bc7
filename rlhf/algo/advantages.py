"""Generalised advantage estimation: how much better each token was than expected.

Axes: B responses, R response slots, right-padded. Masks are bool, true at real tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.masking import zero_padding


def gae(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Return advantages_BR (Schulman et al. 2016, eq. 16), 0 at padding, not whitened.

    A response is an episode: the value after its last real token is 0, and nothing at padding
    is read.

    Args:
        rewards_BR: Reward a token.
        values_BR: Return expected before each token is generated.
        mask_BR: Bool.
        discount: Gamma.
        gae_lambda: Lambda; 0 trusts the values, 1 the rewards.
    """
    rewards_BR = zero_padding(rewards_BR, mask_BR)
    values_BR = zero_padding(values_BR, mask_BR)
    next_values_BR = torch.cat([values_BR[:, 1:], torch.zeros_like(values_BR[:, :1])], dim=1)
    deltas_BR = zero_padding(rewards_BR + discount * next_values_BR - values_BR, mask_BR)
    advantage_B = torch.zeros_like(rewards_BR[:, 0])
    advantages: list[Tensor] = []
    for delta_B in reversed(deltas_BR.unbind(dim=1)):
        advantage_B = delta_B + discount * gae_lambda * advantage_B
        advantages.append(advantage_B)
    return torch.stack(advantages[::-1], dim=1)


def lambda_returns(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Return returns_BR = advantages + values, the value role's targets, 0 at padding.

    Takes rewards and not advantages, so whitened advantages cannot slip in, and so the targets
    may have a lambda of their own (VC-PPO, Yuan et al. 2025).

    Args:
        rewards_BR: Reward a token.
        values_BR: Return expected before each token is written.
        mask_BR: Bool.
        discount: Gamma.
        gae_lambda: Lambda of the targets.
    """
    advantages_BR = gae(rewards_BR, values_BR, mask_BR, discount, gae_lambda)
    return advantages_BR + zero_padding(values_BR, mask_BR)
