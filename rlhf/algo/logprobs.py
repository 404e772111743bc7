"""Log-probabilities of chosen tokens and the entropy of the choice, a slice of positions at a time.

Axes: N positions (rows and time flattened, padding dropped), H hidden units, V vocabulary.
Results are float32, or float64 when the logits are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def logprobs_of(logits_NV: Tensor, targets_N: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return (logprobs_N, entropy_N) of softmax(logits / temperature), in nats.

    Args:
        logits_NV: Any float dtype; reductions are done in float32 or wider.
        targets_N: Chosen token ids, int64.
        temperature: Divides the logits; must be the one the tokens were sampled at.

    Returns:
        logprobs_N, differentiable; entropy_N, without gradient.
    """
    wide_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    if temperature != 1.0:
        wide_NV = wide_NV / temperature
    all_logprobs_NV = wide_NV.log_softmax(dim=-1)
    logprobs_N = all_logprobs_NV.gather(-1, targets_N[:, None]).squeeze(-1)
    with torch.no_grad():
        entropy_N: Tensor = torch.special.entr(all_logprobs_NV.exp()).sum(dim=-1)
    return logprobs_N, entropy_N


def token_logprobs(
    hidden: Tensor,
    head: Callable[[Tensor], Tensor],
    targets_N: Tensor,
    temperature: float,
    chunk: int,
) -> tuple[Tensor, Tensor]:
    """Return (logprobs_N, entropy_N) without ever holding the logits of all positions.

    With gradients on and more than one chunk, the logits of each chunk are thrown away after the
    forward and made again in the backward. The checkpoint is non-reentrant, so the head's weight
    receives its gradient once, summed over chunks, as gradient hooks expect.

    Args:
        hidden: Last hidden states, [N, H].
        head: Maps hidden states [n, H] to logits [n, V].
        targets_N: Chosen token ids, int64.
        temperature: Divides the logits.
        chunk: Most positions whose logits exist at one time, at least 1.

    Returns:
        logprobs_N, differentiable; entropy_N, without gradient.
    """

    def score(hidden_NH: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return logprobs_of(head(hidden_NH), targets, temperature)

    pieces = list(zip(torch.split(hidden, chunk), torch.split(targets_N, chunk), strict=True))
    if len(pieces) == 1:
        return score(*pieces[0])
    scored = [_recomputed(score, *piece) for piece in pieces]
    logprobs, entropies = zip(*scored, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _recomputed(
    score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], hidden_NH: Tensor, targets_N: Tensor
) -> tuple[Tensor, Tensor]:
    if not torch.is_grad_enabled():
        return score(hidden_NH, targets_N)
    scored = checkpoint(score, hidden_NH, targets_N, use_reentrant=False)
    return cast("tuple[Tensor, Tensor]", scored)
