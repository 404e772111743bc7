"""The objectives: pure functions from tensors to a sum, never a mean.

Whoever calls them divides by the count of the whole optimizer step, so the result does not depend
on how rows are spread over ranks and microbatches. All other fields of a result carry no gradient
and are sums too, except those named `max`.

Axes: B rows, K answers to one prompt, best first. Losses over tokens take any one shape; masks
are bool, and what stands outside them changes neither a result nor a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from rlhf.algo.masking import masked_sum, zero_padding

LOG_RATIO_BOUND = 20.0
"""Log-ratios are clamped to +- this before exp, and the clamped ones counted."""


@dataclass(frozen=True, slots=True)
class Clip:
    """Where the clipped surrogate stops paying: ratios outside [1 - low, 1 + high]."""

    low: float
    """Below 1; Schulman et al. 2017 have 0.2 on both sides."""
    high: float
    """Above 1; larger than low it is clip-higher (DAPO, Yu et al. 2025, eq. 10: 0.28)."""
    dual: float | None = None
    """Above 1: with A < 0 a token costs at most dual |A| (Ye et al. 2019); None: no bound."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """Clipped surrogate over some tokens."""

    loss: Tensor
    """Sum over tokens; the only field with a gradient."""
    clipped: Tensor
    """Tokens where the ordinary clip binds, so that their gradient is 0."""
    dual_clipped: Tensor
    """Tokens where the dual bound binds, so that their gradient is 0; none of them in `clipped`."""
    approx_kl: Tensor
    """Sum of (logprobs - old_logprobs)^2 / 2, in nats: KL(old || new), k2 estimate."""
    k3: Tensor
    """Sum of ratio - 1 - log ratio, in nats: KL(old || new), k3 estimate."""
    ratio_sum: Tensor
    """Sum of the probability ratio."""
    ratio_square_sum: Tensor
    """Sum of its square."""
    ratio_max: Tensor
    """Largest ratio; 0 without tokens."""
    log_ratio_max: Tensor
    """Largest |logprobs - old_logprobs|, before the clamp; 0 at the first minibatch of a step."""
    num_clamped: Tensor
    """Tokens whose log-ratio was beyond LOG_RATIO_BOUND."""


@dataclass(frozen=True, slots=True)
class ValueLoss:
    """Clipped squared error over some tokens."""

    loss: Tensor
    """Sum over tokens; the only field with a gradient."""
    clipped: Tensor
    """Tokens where the clipped error is the larger, so that their gradient is 0."""
    squared_error: Tensor
    """Sum of (values - returns)^2, without the clip."""


@dataclass(frozen=True, slots=True)
class RankingLoss:
    """Bradley-Terry loss over some rows of ranked answers."""

    loss: Tensor
    """Sum over rows of the mean over each row's pairs; the only field with a gradient."""
    rows: Tensor
    """Rows with at least one pair: what the loss is to be divided by."""
    correct: Tensor
    """Pairs whose better answer scores higher; a tie counts half."""
    pairs: Tensor
    """Pairs: what `correct` and `score_gap` are to be divided by."""
    score_gap: Tensor
    """Sum over pairs of the better answer's score less the worse one's."""


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: Clip
) -> PolicyLoss:
    """Return the clipped surrogate (Schulman et al. 2017, eq. 7), negated and summed.

    It is positively homogeneous in the advantages: a token with advantage w A, w >= 0, has w
    times the loss and the gradient. So a weight of a row or of a token goes into its advantage.

    Args:
        logprobs: By the policy now; differentiated.
        old_logprobs: By the policy before the step's update.
        advantages: A token.
        mask: Bool.
        clip: Bounds of the ratio and of the loss.
    """
    log_ratio = zero_padding(logprobs, mask) - zero_padding(old_logprobs, mask)
    ratio = log_ratio.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
    gains = zero_padding(advantages, mask)
    plain = -gains * ratio
    clipped = -gains * ratio.clamp(1 - clip.low, 1 + clip.high)
    losses, held = _dual_clip(torch.max(plain, clipped), gains, clip.dual)
    loss = losses.sum()
    with torch.no_grad():
        ratios = zero_padding(ratio, mask)
        return PolicyLoss(
            loss=loss,
            clipped=(clipped > plain).float().sum(),
            dual_clipped=held.float().sum(),
            approx_kl=0.5 * log_ratio.square().sum(),
            k3=(ratios - 1 - log_ratio).where(mask, 0.0).sum(),
            ratio_sum=ratios.sum(),
            ratio_square_sum=ratios.square().sum(),
            ratio_max=ratios.max(),
            log_ratio_max=log_ratio.abs().max(),
            num_clamped=(log_ratio.abs() > LOG_RATIO_BOUND).float().sum(),
        )


def _dual_clip(losses: Tensor, gains: Tensor, dual: float | None) -> tuple[Tensor, Tensor]:
    """Return the losses, of gains below 0 at most dual * |gain|, and where that bound binds.

    Where the gain is above 0 the loss is below 0, so the bound never binds.
    """
    if dual is None:
        return losses, torch.zeros_like(losses, dtype=torch.bool)
    most = dual * gains.abs()
    held = losses > most
    return torch.where(held, most, losses), held


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip_range: float
) -> ValueLoss:
    """Return half the squared error, the worse of plain and clipped, summed.

    The clip keeps the new value within clip_range of the old one, as it does the policy's ratio
    (Schulman et al. 2017's code; Ouyang et al. 2022).

    Args:
        values: By the value role now; differentiated.
        old_values: By the value role before the step's update.
        returns: Targets.
        mask: Bool.
        clip_range: In score units.
    """
    values, old_values = zero_padding(values, mask), zero_padding(old_values, mask)
    returns = zero_padding(returns, mask)
    plain = (values - returns).square()
    near_old = values.clamp(old_values - clip_range, old_values + clip_range)
    clipped = (near_old - returns).square()
    loss = 0.5 * torch.max(plain, clipped).sum()
    with torch.no_grad():
        return ValueLoss(loss, (clipped > plain).float().sum(), plain.sum())


def sft_loss(logprobs: Tensor, mask: Tensor) -> Tensor:
    """Return the negative log-likelihood of the masked tokens, summed, in nats."""
    return -masked_sum(logprobs, mask)


def ranking_loss(scores_BK: Tensor, present_BK: Tensor, margin_B: Tensor) -> RankingLoss:
    """Return the Bradley-Terry loss over all pairs of each row (Ouyang et al. 2022, eq. 1).

    A row of k answers weighs its C(k, 2) pairs 1 / C(k, 2) each, so every prompt counts once.

    Args:
        scores_BK: Scores, best answer first; differentiated.
        present_BK: Bool; false where a row has fewer than K answers.
        margin_B: Least wanted gap (Touvron et al. 2023, eq. 2); used in rows of two answers only.
    """
    pair_BKK = _pairs(present_BK)
    scores_BK = zero_padding(scores_BK, present_BK)
    gap_BKK = scores_BK[:, :, None] - scores_BK[:, None, :]
    margin_B = torch.where(present_BK.sum(dim=1) == 2, margin_B, torch.zeros_like(margin_B))
    loss = -_sum_of_pair_means(logsigmoid(gap_BKK - margin_B[:, None, None]), pair_BKK)
    with torch.no_grad():
        order_BKK = 0.5 * (gap_BKK.sign() + 1)
        return RankingLoss(
            loss=loss,
            rows=pair_BKK.flatten(1).any(dim=1).float().sum(),
            correct=masked_sum(order_BKK, pair_BKK),
            pairs=pair_BKK.float().sum(),
            score_gap=masked_sum(gap_BKK, pair_BKK),
        )


def centering_loss(scores_BK: Tensor, present_BK: Tensor) -> Tensor:
    """Return (r_i + r_j)^2, mean over each row's pairs, summed over rows.

    Bradley-Terry fixes scores up to a constant; this holds the constant near 0 (Eisenstein et
    al. 2023, section 3).
    """
    scores_BK = zero_padding(scores_BK, present_BK)
    sums_BKK = scores_BK[:, :, None] + scores_BK[:, None, :]
    return _sum_of_pair_means(sums_BKK.square(), _pairs(present_BK))


def _pairs(present_BK: Tensor) -> Tensor:
    """Return pair_BKK, bool: both answers present, the first ranked above the second."""
    both_BKK = present_BK[:, :, None] & present_BK[:, None, :]
    return both_BKK.triu(diagonal=1)


def _sum_of_pair_means(x_BKK: Tensor, pair_BKK: Tensor) -> Tensor:
    pairs_B = pair_BKK.sum(dim=(1, 2)).clamp(min=1)
    return (zero_padding(x_BKK, pair_BKK).sum(dim=(1, 2)) / pairs_B).sum()
