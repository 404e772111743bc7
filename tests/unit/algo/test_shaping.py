"""Scores to rewards a token."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.algo.shaping import penalize_missing_eos, penalize_overlong, token_rewards
from rlhf.flow.tensors import length_mask


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5),
    kl_coef=st.floats(0, 2),
    seed=st.integers(0, 1000),
)
def test_a_rows_rewards_sum_to_score_less_kl(lengths: list[int], kl_coef: float, seed: int) -> None:
    # correctness 31: sum of rewards == score - kl_coef * sum of k1; 0 wherever the mask is false.
    generator = torch.Generator().manual_seed(seed)
    lengths_B = torch.tensor(lengths)
    mask = length_mask(lengths_B, 7)
    score = torch.randn(len(lengths), generator=generator, dtype=torch.float64)
    kl = torch.randn(len(lengths), 7, generator=generator, dtype=torch.float64)
    rewards = token_rewards(score, torch.where(mask, kl, math.nan), lengths_B, kl_coef)
    expected = score - kl_coef * (kl * mask).sum(dim=1)
    assert torch.allclose(rewards.sum(dim=1), expected, atol=1e-12)
    assert torch.all(rewards[~mask] == 0)


def test_the_score_lands_on_the_last_real_token() -> None:
    # correctness 32: at the EOS; a full-length row at R - 1; never at a pad.
    rewards = token_rewards(
        torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3, 4), torch.tensor([1, 3, 4]), 0.1
    )
    assert rewards.tolist() == [[1, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 3]]


def test_the_kl_of_the_eos_token_is_paid_too() -> None:
    # correctness 31: leaving it out moves the optimum.
    rewards = token_rewards(torch.zeros(1), torch.tensor([[1.0, 2.0]]), torch.tensor([2]), 0.5)
    assert rewards.tolist() == [[-0.5, -1.0]]


@pytest.mark.parametrize("k1", [-30.0, 30.0])
def test_large_kl_is_not_clamped(k1: float) -> None:
    # correctness 34
    rewards = token_rewards(torch.zeros(1), torch.tensor([[k1]]), torch.tensor([1]), 1.0)
    assert rewards.item() == -k1


@given(score=st.floats(-20, 20), penalty=st.floats(0.01, 5))
def test_a_missing_eos_always_costs(score: float, penalty: float) -> None:
    # correctness 26: penalised(s) < s for every s in [-20, 20]; finished rows untouched.
    scores = torch.tensor([score, score], dtype=torch.float64)
    penalised = penalize_missing_eos(scores, torch.tensor([False, True]), penalty)
    assert penalised[0] < scores[0]
    assert penalised[1] == scores[1]


@pytest.mark.parametrize(
    ("length", "share"),
    [(1, 0.0), (15, 0.0), (16, 0.0), (17, 0.25), (18, 0.5), (19, 0.75), (20, 1.0), (25, 1.0)],
)
def test_overlong_responses_pay_in_proportion(length: int, share: float) -> None:
    # correctness 26: DAPO's eq. 13 with 20 tokens allowed, the last 4 of them a buffer.
    score, lengths = torch.tensor([1.5]), torch.tensor([length])
    found = penalize_overlong(score, lengths, longest=20, buffer=4, penalty=2.0)
    assert found.item() == 1.5 - 2.0 * share


def test_without_a_buffer_only_what_is_beyond_the_limit_pays() -> None:
    # correctness 26: the paper's first case comes before its second.
    found = penalize_overlong(
        torch.zeros(3), torch.tensor([19, 20, 21]), longest=20, buffer=0, penalty=1.0
    )
    assert found.tolist() == [0.0, 0.0, -1.0]


def test_no_penalty_changes_no_bit() -> None:
    score = torch.tensor([0.1, -0.0, 1e-30, math.nan])
    lengths = torch.tensor([1, 18, 20, 30])
    found = penalize_overlong(score, lengths, longest=20, buffer=4, penalty=0.0)
    assert torch.equal(found.view(torch.int32), score.view(torch.int32))
