"""Weights that turn a sum over tokens into the mean a paper asks for."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.aggregation import MODES, token_weights
from rlhf.errors import ConfigError
from rlhf.flow.tensors import length_mask

LENGTHS = torch.tensor([6, 1, 4, 2])
LONGEST = 9
LOSSES = torch.randn(4, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def paper(mode: str) -> float:
    """The formula as printed, a response at a time."""
    rows = [LOSSES[row, :length].tolist() for row, length in enumerate(LENGTHS.tolist())]
    num_tokens = sum(len(row) for row in rows)
    return {
        "token_mean": sum(sum(row) for row in rows) / num_tokens,
        "seq_mean_token_sum": sum(sum(row) for row in rows) / len(rows),
        "seq_mean_token_mean": sum(sum(row) / len(row) for row in rows) / len(rows),
        "seq_mean_token_sum_norm": sum(sum(row) / LONGEST for row in rows) / len(rows),
    }[mode]


@pytest.mark.parametrize("mode", MODES)
def test_the_weighted_sum_over_all_tokens_is_the_paper_s_mean(mode: str) -> None:
    # correctness 47: DAPO, GRPO and Dr. GRPO by their formulas.
    weight_B = token_weights(LENGTHS, mode, LONGEST)
    assert weight_B.dtype == torch.float64
    assert weight_B.shape == (4,)
    per_token = torch.where(length_mask(LENGTHS, 6), LOSSES, 0.0)
    found = (per_token * weight_B[:, None]).sum() / LENGTHS.sum()
    assert found.item() == pytest.approx(paper(mode), rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_all_modes_agree_at_equal_lengths(mode: str) -> None:
    # correctness 47: 1 exactly when `longest` is that length; the plain sum is n times as much.
    weight_B = token_weights(torch.tensor([5, 5, 5]), mode, 5)
    assert weight_B.tolist() == [5.0 if mode == "seq_mean_token_sum" else 1.0] * 3


def test_only_a_share_by_length_prefers_short_responses() -> None:
    # correctness 47: 1 / |o| is not neutral; the others pay every token of a batch alike.
    for mode in MODES:
        spread = token_weights(LENGTHS, mode, LONGEST)
        alike = bool((spread == spread[0]).all())
        assert alike == (mode != "seq_mean_token_mean")
    shares = token_weights(LENGTHS, "seq_mean_token_mean", LONGEST) * LENGTHS
    assert torch.allclose(shares, shares[0].expand(4), rtol=1e-6)


def test_token_mean_changes_no_bit() -> None:
    # correctness 47
    assert torch.equal(token_weights(LENGTHS, "token_mean", LONGEST), torch.ones(4))


def test_dr_grpo_s_divisor_is_a_constant_of_the_run() -> None:
    # correctness 47: a longer row elsewhere leaves a token's share of the loss as it is.
    def share(lengths: list[int]) -> float:
        lengths_B = torch.tensor(lengths)
        weight_B = token_weights(lengths_B, "seq_mean_token_sum_norm", LONGEST)
        return (weight_B[0] / lengths_B.sum()).item()

    assert share([2, 3]) == pytest.approx(share([2, 9]), rel=1e-6)
    assert share([2, 3]) == pytest.approx(1 / (2 * LONGEST), rel=1e-6)


def test_an_unknown_mode_gets_the_legal_ones() -> None:
    with pytest.raises(ConfigError, match="tokenmean: should be one of token_mean, seq_mean"):
        token_weights(LENGTHS, "tokenmean", LONGEST)
