"""How tokens of short and long responses share one loss: the weight of a token of each response.

The policy loss is a sum over tokens that is divided by N, the tokens of the minibatch. A mode is
a weight a response that turns that into the mean it is named after. Names are verl's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rlhf.errors import ConfigError


def _token_mean(lengths_B: Tensor, longest: int) -> Tensor:
    """Every token counts the same (DAPO, Yu et al. 2025, 2503.14476, eq. 12)."""
    return torch.ones_like(lengths_B)


def _seq_mean_token_sum(lengths_B: Tensor, longest: int) -> Tensor:
    """Mean over responses of the sum over tokens: the policy gradient of whole responses."""
    return (lengths_B.sum() / len(lengths_B)).expand_as(lengths_B)


def _seq_mean_token_mean(lengths_B: Tensor, longest: int) -> Tensor:
    """Every response counts the same: 1 / |o| (GRPO, Shao et al. 2024, 2402.03300, eq. 3)."""
    return lengths_B.sum() / (len(lengths_B) * lengths_B)


def _seq_mean_token_sum_norm(lengths_B: Tensor, longest: int) -> Tensor:
    """Sum over tokens by a constant (Dr. GRPO, Liu et al. 2025, 2503.20783, listing 1)."""
    return _seq_mean_token_sum(lengths_B, longest) / longest


MODES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "token_mean": _token_mean,
    "seq_mean_token_sum": _seq_mean_token_sum,
    "seq_mean_token_mean": _seq_mean_token_mean,
    "seq_mean_token_sum_norm": _seq_mean_token_sum_norm,
}
"""Every mode by name; from the lengths, float64, and the longest length allowed."""


def token_weights(lengths_B: Tensor, mode: str, longest: int) -> Tensor:
    """Return weight_B, float64: what each token of a response counts for in a loss over N.

    With N tokens in B responses, of which this one has n: token_mean 1, seq_mean_token_sum N / B,
    seq_mean_token_mean N / (B n), seq_mean_token_sum_norm N / (B longest). At equal lengths n all
    are 1, if longest is n, except seq_mean_token_sum, which is n times as much.

    Args:
        lengths_B: Response tokens of the whole minibatch, over all ranks; int64, at least 1.
        mode: One of MODES.
        longest: Most tokens a response may have; a constant of the run, unlike the widest row.

    Raises:
        ConfigError: when there is no such mode.
    """
    if mode not in MODES:
        raise ConfigError(f"loss aggregation {mode}: should be one of {', '.join(MODES)}")
    return MODES[mode](lengths_B.double(), longest)
