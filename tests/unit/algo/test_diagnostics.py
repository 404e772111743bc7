"""Fit, variety, calibration, uncertainty."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf.algo.diagnostics import (
    bootstrap_mean_interval,
    calibration_error,
    distinct_n,
    explained_variance,
    means_by_quarter,
    wilson_interval,
)
from rlhf.errors import DataError
from rlhf.flow.tensors import length_mask


def test_explained_variance_of_perfect_useless_and_harmful_values() -> None:
    # correctness 53
    mask = length_mask(torch.tensor([3, 2]), 3)
    returns = torch.tensor([[1.0, 2.0, 3.0], [4.0, 6.0, math.nan]])
    assert explained_variance(returns, returns, mask) == 1
    assert explained_variance(returns + 5, returns, mask) == pytest.approx(1)
    assert explained_variance(torch.full((2, 3), 7.0), returns, mask) == pytest.approx(0)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)
    assert explained_variance(0.5 * returns, returns, mask) == pytest.approx(0.75)
    assert explained_variance(returns, torch.ones(2, 3), mask) == 0


def test_means_by_quarter_of_each_response_s_own_length() -> None:
    # correctness 53: by hand: 8 tokens, two a quarter; 4 tokens, one; 2 tokens, first and third.
    lengths = torch.tensor([8, 4, 2])
    values = torch.arange(24.0).reshape(3, 8)
    values = torch.where(length_mask(lengths, 8), values, math.nan)
    expected = [(0 + 1 + 8 + 16) / 4, (2 + 3 + 9) / 3, (4 + 5 + 10 + 17) / 4, (6 + 7 + 11) / 3]
    assert means_by_quarter(values, lengths) == pytest.approx(expected)


def test_means_by_quarter_against_a_loop() -> None:
    # correctness 53: every length up to 13.
    lengths = torch.arange(1, 14)
    values = torch.randn(13, 13, generator=torch.Generator().manual_seed(0))
    quarters: list[list[float]] = [[], [], [], []]
    for row, n in enumerate(lengths.tolist()):
        for j in range(n):
            quarters[math.floor(4 * j / n)].append(values[row, j].item())
    expected = [sum(found) / len(found) for found in quarters]
    assert means_by_quarter(values, lengths) == pytest.approx(expected)


def test_a_quarter_without_tokens_has_no_mean() -> None:
    # correctness 53
    found = means_by_quarter(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([3]))
    assert found == [1.0, 2.0, 3.0, None]
    assert means_by_quarter(torch.tensor([[5.0, 9.0]]), torch.tensor([1])) == [
        5.0,
        None,
        None,
        None,
    ]


def test_distinct_n_counts_n_grams_over_all_texts() -> None:
    texts = [[1, 2, 1, 2], [1, 2], [3]]
    assert distinct_n(texts, 1) == pytest.approx(3 / 7)
    assert distinct_n(texts, 2) == pytest.approx(2 / 4)
    assert distinct_n(texts, 5) == 0
    assert distinct_n([], 1) == 0


def test_a_calibrated_forecast_has_no_error() -> None:
    # correctness 20
    result = calibration_error([0.25] * 4 + [1.0] * 3, [1, 0, 0, 0, 1, 1, 1])
    assert result.error == 0
    assert [b.count for b in result.bins] == [0, 0, 4, 0, 0, 0, 0, 0, 0, 3]
    assert (result.bins[2].low, result.bins[2].high) == (0.2, 0.3)


def test_calibration_error_is_the_weighted_gap() -> None:
    # correctness 20: 3/4 of the forecasts are off by 0.1, 1/4 by 0.45.
    result = calibration_error([0.9, 0.9, 0.9, 0.05], [1, 1, 1, 0.5])
    assert result.error == pytest.approx(0.75 * 0.1 + 0.25 * 0.45)
    assert result.bins[0].mean_outcome == 0.5
    assert calibration_error([], []).error == 0


def test_a_score_is_not_a_probability() -> None:
    with pytest.raises(DataError, match=r"probability=1\.5"):
        calibration_error([1.5], [1])


def test_wilson_interval_matches_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), expected in published.items():
        assert wilson_interval(successes, n, 1.959964) == pytest.approx(expected, abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(7, 7)[1] == pytest.approx(1.0)


def test_bootstrap_interval_has_the_width_of_the_normal_one() -> None:
    x = torch.randn(400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    low, high = bootstrap_mean_interval(x.tolist(), seed=1)
    half = 1.96 * x.std().item() / math.sqrt(400)
    assert low == pytest.approx(x.mean().item() - half, abs=0.1 * half)
    assert high == pytest.approx(x.mean().item() + half, abs=0.1 * half)
    assert (low, high) == bootstrap_mean_interval(x.tolist(), seed=1)
    assert (low, high) != bootstrap_mean_interval(x.tolist(), seed=2)


def test_bootstrap_edges() -> None:
    assert bootstrap_mean_interval([3.0, 3.0], seed=0) == (3.0, 3.0)
    with pytest.raises(DataError, match="empty"):
        bootstrap_mean_interval([], seed=0)
