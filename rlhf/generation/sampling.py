"""Sampling: how to draw, and the draw itself.

Axes: B rows, V vocabulary, K blocks of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["auto", "padded"]

BLOCK = 256
"""Tokens a block: the distribution is summed by blocks, then within the one that was hit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How responses are drawn: length, temperature, backend, stop tokens."""

    max_new_tokens: int
    temperature: float
    """0 picks the likeliest token."""
    batch_size: int
    """Rows decoded together."""
    stop_ids: tuple[int, ...]
    """A response ends with the first of these."""
    backend: Backend = "auto"
    """auto: continuous where it fits the model."""
    absent_ids: tuple[int, ...] = ()
    """Rows of the embedding for which the tokenizer has no token; none of them is drawn."""


def draw(
    logits_BV: Tensor, temperature: float, uniform_B: Tensor, absent_ids: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Return (tokens_B, logprobs_B float32) by inverting the distribution function at uniform_B.

    Temperature 0 takes the likeliest token and reports its log-probability at temperature 1. The
    vocabulary is read once: sums of blocks in float32, the search over and in blocks in float64.

    Args:
        logits_BV: Any float dtype.
        temperature: Divides the logits.
        uniform_B: From 0 to 1, float64.
        absent_ids: Passed over. Log-probabilities are those of the whole vocabulary all the same,
            as training computes them.
    """
    scaled_BV = logits_BV.float()
    if temperature not in (0.0, 1.0):
        scaled_BV = scaled_BV / temperature
    top_B1 = scaled_BV.amax(-1, keepdim=True)
    weight_BV = (scaled_BV - top_B1).exp_()
    ends_BK = _block_sums(weight_BV).double().cumsum_(-1)
    total_B1 = ends_BK[:, -1:]
    if absent_ids:
        absent_A = torch.tensor(absent_ids, device=weight_BV.device)
        # Some networks give fewer logits than their embedding has rows.
        weight_BV[:, absent_A[absent_A < weight_BV.shape[1]]] = 0.0
        ends_BK = _block_sums(weight_BV).double().cumsum_(-1)
    if temperature == 0.0:
        chosen_B1 = weight_BV.argmax(-1, keepdim=True)
    else:
        chosen_B1 = _invert(weight_BV, ends_BK, uniform_B[:, None] * ends_BK[:, -1:])
    logprobs_B1 = (scaled_BV.gather(-1, chosen_B1) - top_B1).double() - total_B1.log()
    return chosen_B1.squeeze(-1), logprobs_B1.squeeze(-1).float()


def _block_sums(weight_BV: Tensor) -> Tensor:
    """Return sums_BK of consecutive blocks; the last may be short."""
    whole = weight_BV.shape[1] // BLOCK * BLOCK
    sums = weight_BV[:, :whole].unflatten(1, (-1, BLOCK)).sum(-1) if whole else weight_BV[:, :0]
    if whole == weight_BV.shape[1]:
        return sums
    return torch.cat([sums, weight_BV[:, whole:].sum(-1, keepdim=True)], dim=1)


def _invert(weight_BV: Tensor, ends_BK: Tensor, threshold_B1: Tensor) -> Tensor:
    """Return chosen_B1: the first token whose cumulated weight exceeds the threshold."""
    block_B1 = torch.searchsorted(ends_BK, threshold_B1, right=True)
    block_B1 = block_B1.clamp_(max=ends_BK.shape[1] - 1)
    before_B1 = torch.where(
        block_B1 > 0, ends_BK.gather(1, (block_B1 - 1).clamp(min=0)), ends_BK.new_zeros(())
    )
    places_BN = block_B1 * BLOCK + torch.arange(BLOCK, device=weight_BV.device)
    is_token_BN = places_BN < weight_BV.shape[1]
    inside_BN = weight_BV.gather(1, places_BN.clamp(max=weight_BV.shape[1] - 1)).double()
    ends_BN = (inside_BN * is_token_BN).cumsum_(-1)
    within_B1 = torch.searchsorted(ends_BN, threshold_B1 - before_B1, right=True)
    # Rounding may put the threshold past the last token with any weight, never before the first.
    last_B1 = torch.searchsorted(ends_BN, ends_BN[:, -1:].contiguous())
    return block_B1 * BLOCK + torch.minimum(within_B1, last_B1)
