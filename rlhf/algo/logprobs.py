"""Log-probabilities of chosen tokens and the entropy of the choice, a slice of positions at a time.

Axes: N positions (rows and time flattened, padding dropped), H hidden units, V vocabulary.
Results are float32, or float64 when the logits are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CACHED = 2**17
"""Logits whose passes follow one another before the next are read: half a MiB of float32."""


def logprobs_of(logits_NV: Tensor, targets_N: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return (logprobs_N, entropy_N) of softmax(logits / temperature), in nats.

    Args:
        logits_NV: Any float dtype; reductions are done in float32 or wider.
        targets_N: Chosen token ids, int64.
        temperature: Divides the logits; must be the one the tokens were sampled at.

    Returns:
        logprobs_N, differentiable once; entropy_N, without gradient.
    """
    return cast("tuple[Tensor, Tensor]", _Chosen.apply(logits_NV, targets_N, temperature))


class _Chosen(torch.autograd.Function):
    """Log-softmax, choice and entropy, a few rows at a time: rows that are still in the cache.

    Nothing of the size of the logits is made in the forward, and nothing but them is kept. The
    gradient of log p(target) is onehot(target) - softmax, over the temperature.
    """

    @staticmethod
    def forward(
        ctx: Any, logits_NV: Tensor, targets_N: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits_NV, targets_N)
        ctx.temperature = temperature
        wide = torch.promote_types(logits_NV.dtype, torch.float32)
        logprobs_N = logits_NV.new_empty(len(logits_NV), dtype=wide)
        entropy_N = torch.empty_like(logprobs_N)
        for rows in _slices(logits_NV):
            all_NV = _tempered(logits_NV[rows], wide, temperature).log_softmax(-1)
            logprobs_N[rows] = all_NV.gather(-1, targets_N[rows, None]).squeeze(-1)
            # Where p is 0, log p is -inf, and their product has to be 0.
            finite_NV = all_NV.clamp(min=torch.finfo(wide).min)
            entropy_N[rows] = -(all_NV.exp_() * finite_NV).sum(-1)
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        logits_NV, targets_N = ctx.saved_tensors
        grad_N = grads[0] / ctx.temperature
        grad_NV = torch.empty_like(logits_NV)
        for rows in _slices(logits_NV):
            p_NV = _tempered(logits_NV[rows], grad_N.dtype, ctx.temperature).softmax(-1)
            slope_NV = p_NV.mul_(-grad_N[rows, None])
            grad_NV[rows] = slope_NV.scatter_add_(-1, targets_N[rows, None], grad_N[rows, None])
        return grad_NV, None, None


def _tempered(logits_NV: Tensor, dtype: torch.dtype, temperature: float) -> Tensor:
    wide_NV = logits_NV.to(dtype)
    return wide_NV if temperature == 1.0 else wide_NV / temperature


def _slices(logits_NV: Tensor) -> list[slice]:
    """Cut rows into chunks that fit a CPU's cache; a GPU takes all of them at once."""
    num_rows, vocabulary = logits_NV.shape
    size = num_rows if logits_NV.is_cuda else max(1, CACHED // vocabulary)
    return [slice(start, start + size) for start in range(0, num_rows, max(1, size))]


def token_logprobs(
    hidden: Tensor,
    head: Callable[[Tensor, Tensor], Tensor],
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
        head: Maps hidden states [n, H] and their targets [n] to logits [n, V], each row up to a
            constant.
        targets_N: Chosen token ids, int64.
        temperature: Divides the logits.
        chunk: Most positions whose logits exist at one time, at least 1.

    Returns:
        logprobs_N, differentiable; entropy_N, without gradient.
    """

    def score(hidden_NH: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return logprobs_of(head(hidden_NH, targets), targets, temperature)

    chunks = list(zip(torch.split(hidden, chunk), torch.split(targets_N, chunk), strict=True))
    if len(chunks) == 1:
        return score(*chunks[0])
    scored = [_recomputed(score, *chunk) for chunk in chunks]
    logprobs, entropies = zip(*scored, strict=True)
    return torch.cat(logprobs), torch.cat(entropies)


def _recomputed(
    score: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], hidden_NH: Tensor, targets_N: Tensor
) -> tuple[Tensor, Tensor]:
    if not torch.is_grad_enabled():
        return score(hidden_NH, targets_N)
    scored = checkpoint(score, hidden_NH, targets_N, use_reentrant=False)
    return cast("tuple[Tensor, Tensor]", scored)
