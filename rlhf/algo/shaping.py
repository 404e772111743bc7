"""From one score a response to a reward a token.

Axes: B responses, R response slots, right-padded.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.masking import zero_padding
from rlhf.flow.tensors import length_mask


def token_rewards(score_B: Tensor, kl_BR: Tensor, lengths_B: Tensor, kl_coef: float) -> Tensor:
    """Return rewards_BR = -kl_coef * kl, plus the score on the last real token (the EOS).

    Ouyang et al. 2022, eq. 2, spread over tokens as in Ziegler et al. 2019.

    Args:
        score_B: One number a response.
        kl_BR: k1 estimate a token, in nats; anything at padding.
        lengths_B: Response tokens a row including EOS, int64, at least 1.
        kl_coef: Score units a nat.

    Returns:
        rewards_BR in kl_BR's dtype, 0 at padding; a row sums to score - kl_coef * sum of kl.
    """
    width = kl_BR.shape[1]
    penalty_BR = -kl_coef * zero_padding(kl_BR, length_mask(lengths_B, width))
    is_last_BR = torch.arange(width, device=lengths_B.device) == lengths_B[:, None] - 1
    return torch.where(is_last_BR, penalty_BR + score_B.to(kl_BR)[:, None], penalty_BR)


def penalize_missing_eos(score_B: Tensor, finished_B: Tensor, penalty: float) -> Tensor:
    """Return score_B less the penalty where the response was cut before its EOS.

    Subtracted, not put in place of the score: a fixed low score would make never stopping better
    than a finished answer that scores lower still.
    """
    return torch.where(finished_B, score_B, score_B - penalty)


def penalize_overlong(
    score_B: Tensor, lengths_B: Tensor, *, longest: int, buffer: int, penalty: float
) -> Tensor:
    """Return score_B less a penalty that grows over the last `buffer` tokens allowed.

    DAPO's soft overlong punishment (Yu et al. 2025, eq. 13), times the penalty: nothing up to
    longest - buffer tokens, then in proportion, all of it at `longest` and beyond. As in the
    paper's first case, without a buffer nothing is owed up to `longest` itself.

    Args:
        score_B: One number a response.
        lengths_B: Response tokens a row, int64.
        longest: Most tokens a response may have.
        buffer: Tokens over which the penalty grows, at most `longest`.
        penalty: In score units; 0 changes no bit.
    """
    excess_B = (lengths_B - (longest - buffer)).to(score_B)
    return score_B - penalty * (excess_B / max(1, buffer)).clamp(0.0, 1.0)
