"""Figures that show whether results can be trusted: fit, variety, calibration, uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algo.masking import masked_mean, masked_moments, zero_padding
from rlhf.algo.seeding import uniforms
from rlhf.errors import DataError

_BLOCK = 1 << 20


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return 1 - Var(returns - values) / Var(returns) over the mask; 0 when returns are constant.

    1 is a perfect value role, 0 one no better than a constant, below 0 a harmful one.
    """
    returns = zero_padding(returns, mask).double()
    values = zero_padding(values, mask).double()
    _, total = masked_moments(returns, mask)
    _, left = masked_moments(returns - values, mask)
    return 1.0 - left.item() / total.item() if total.item() > 0 else 0.0


def means_by_quarter(values_BR: Tensor, lengths_B: Tensor) -> list[float | None]:
    """Return the mean over real tokens in each quarter of their own response's length.

    Token j of a response of n belongs to quarter floor(4 j / n). None where no row has a token
    in the quarter, as when all are shorter than four. Values that start low at early tokens show
    a value role that knows only ends (VC-PPO, Yuan et al. 2025).

    Args:
        values_BR: A number a token; anything at padding.
        lengths_B: Response tokens a row, int64, at least 1.
    """
    place_R = torch.arange(values_BR.shape[1], device=lengths_B.device)
    quarter_BR = 4 * place_R // lengths_B[:, None]  # 4 and more at padding
    wide_BR = values_BR.double()
    members = [quarter_BR == quarter for quarter in range(4)]
    return [masked_mean(wide_BR, m).item() if m.any() else None for m in members]


def distinct_n(token_lists: Sequence[Sequence[int]], n: int) -> float:
    """Return distinct n-grams / all n-grams over the texts (Li et al. 2016); 0 without any."""
    grams = [
        tuple(tokens[start : start + n])
        for tokens in token_lists
        for start in range(len(tokens) - n + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The predictions that fell between two probabilities."""

    low: float
    """Lower edge, inclusive."""
    high: float
    """Upper edge, exclusive; inclusive at 1."""
    count: int
    """Predictions in the bin."""
    mean_probability: float
    """What was foretold; 0 in an empty bin."""
    mean_outcome: float
    """What came; 0 in an empty bin."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Whether things foretold with probability p happen in a share p of cases."""

    error: float
    """Expected calibration error, in [0, 1]."""
    bins: tuple[CalibrationBin, ...]
    """A reliability diagram, from low to high."""


def calibration_error(
    probabilities: Sequence[float], outcomes: Sequence[float], num_bins: int = 10
) -> Calibration:
    """Return the expected calibration error over bins of equal width (Guo et al. 2017, eq. 3).

    Args:
        probabilities: Foretold, each in [0, 1].
        outcomes: The outcome of each: 0, 1, or a half for a tie.
        num_bins: Bins over [0, 1].

    Raises:
        DataError: when a probability lies outside [0, 1].
    """
    members: list[list[tuple[float, float]]] = [[] for _ in range(num_bins)]
    for probability, outcome in zip(probabilities, outcomes, strict=True):
        if not 0.0 <= probability <= 1.0:
            raise DataError(
                f"probability={probability} is outside [0, 1]; pass scores by a sigmoid"
            )
        members[min(num_bins - 1, int(probability * num_bins))].append((probability, outcome))
    bins = tuple(_bin(index, num_bins, found) for index, found in enumerate(members))
    gaps = sum(b.count * abs(b.mean_probability - b.mean_outcome) for b in bins)
    return Calibration(gaps / max(1, len(probabilities)), bins)


def _bin(index: int, num_bins: int, members: list[tuple[float, float]]) -> CalibrationBin:
    count = len(members)
    return CalibrationBin(
        low=index / num_bins,
        high=(index + 1) / num_bins,
        count=count,
        mean_probability=sum(probability for probability, _ in members) / max(1, count),
        mean_outcome=sum(outcome for _, outcome in members) / max(1, count),
    )


def wilson_interval(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the score interval of a proportion (Wilson 1927); (0, 1) when n is 0.

    Args:
        successes: Out of n; a tie may count half.
        n: Trials.
        z: Normal quantile; 1.96 is 95 %.
    """
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, center - half), min(1.0, center + half)


def bootstrap_mean_interval(
    values: Sequence[float], seed: int, num: int = 2000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean (Efron 1979).

    Args:
        values: Observations, at least one.
        seed: Seed of the resampling; derive_seed makes one.
        num: Resamples.

    Raises:
        DataError: when there are no values.
    """
    if not values:
        raise DataError("values is empty; a mean needs at least one observation")
    observed = torch.tensor(values, dtype=torch.float64)
    columns = torch.arange(len(values))
    means: list[Tensor] = []
    for resamples in torch.split(torch.arange(num), max(1, _BLOCK // len(values))):
        drawn = (uniforms(seed, resamples[:, None], columns) * len(values)).long()
        means.append(observed[drawn].mean(dim=1))
    edges = torch.cat(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64))
    return edges[0].item(), edges[1].item()
