"""The objectives of the policy, the value role, SFT and the reward model."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlhf.algo.losses import (
    Clip,
    RankingLoss,
    centering_loss,
    policy_loss,
    ranking_loss,
    sft_loss,
    value_loss,
)
from rlhf.algo.masking import masked_mean, masked_whiten
from rlhf.flow.tensors import length_mask

LENGTHS = torch.tensor([5, 1, 3, 4, 2, 5, 2, 1])
MASK = length_mask(LENGTHS, 5)
CLIP = Clip(0.2, 0.2)


def noise(seed: int) -> Tensor:
    return torch.randn(8, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def policy_total(logprobs: Tensor, mask: Tensor, rows: slice = slice(None)) -> Tensor:
    return policy_loss(logprobs, noise(1)[rows], noise(2)[rows], mask, CLIP).loss


def value_total(values: Tensor, mask: Tensor, rows: slice = slice(None)) -> Tensor:
    return value_loss(values, noise(1)[rows], noise(2)[rows], mask, 0.2).loss


def sft_total(logprobs: Tensor, mask: Tensor, rows: slice = slice(None)) -> Tensor:
    return sft_loss(logprobs, mask)


Total = Callable[[Tensor, Tensor, slice], Tensor]
TOTALS = [policy_total, value_total, sft_total]


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_sums_over_microbatches_are_the_whole(total: Total, size: int) -> None:
    # correctness 6, 47, 55: losses and gradients of ragged chunks add up to those of the batch.
    whole_input, input_ = noise(0).requires_grad_(), noise(0).requires_grad_()
    whole = total(whole_input, MASK, slice(None))
    whole.backward()
    chunks = torch.zeros((), dtype=torch.float64)
    for start in range(0, 8, size):
        rows = slice(start, start + size)
        loss = total(input_[rows], MASK[rows], rows)
        loss.backward()
        chunks = chunks + loss.detach()
    assert chunks.item() == pytest.approx(whole.item(), rel=1e-12)
    assert whole_input.grad is not None
    assert input_.grad is not None
    assert torch.equal(input_.grad, whole_input.grad)


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 1e9])
def test_poison_at_padding_changes_no_loss_and_no_gradient(poison: float) -> None:
    # correctness 37: bit for bit.
    def both(function: Callable[..., object], fill: float) -> tuple[object, Tensor]:
        inputs = [torch.where(MASK, noise(seed), fill) for seed in (0, 1, 2)]
        inputs[0].requires_grad_()
        result = function(*inputs, MASK, CLIP if function is policy_loss else 0.2)
        result.loss.backward()
        assert inputs[0].grad is not None
        return result, inputs[0].grad

    for function in (policy_loss, value_loss):
        clean, clean_grad = both(function, 0.0)
        dirty, dirty_grad = both(function, poison)
        for name in clean.__dataclass_fields__:
            assert torch.equal(getattr(clean, name), getattr(dirty, name)), name
        assert torch.equal(clean_grad, dirty_grad)
        assert torch.all(dirty_grad[~MASK] == 0)


def test_the_first_minibatch_has_ratio_1() -> None:
    # correctness 45: ratio 1, KL 0, nothing clipped, loss == -mean advantage (0 when whitened).
    logprobs = noise(0).float()
    advantages = masked_whiten(noise(2).float(), MASK)
    result = policy_loss(logprobs, logprobs.clone(), advantages, MASK, CLIP)
    count = MASK.sum()
    assert result.ratio_sum == count
    assert result.ratio_square_sum == count
    assert result.ratio_max == 1
    assert result.log_ratio_max == result.approx_kl == result.clipped == result.num_clamped == 0
    assert abs(result.loss.item() / count.item()) < 1e-6
    shifted = policy_loss(logprobs, logprobs.clone(), advantages + 2, MASK, CLIP)
    assert (shifted.loss / count).item() == pytest.approx(-2, rel=1e-6)


def test_at_ratio_1_the_gradient_is_the_policy_gradient() -> None:
    # correctness 44: gradient == -A a token.
    logprobs, advantages = noise(0).requires_grad_(), noise(2)
    policy_loss(logprobs, noise(0), advantages, MASK, CLIP).loss.backward()
    assert logprobs.grad is not None
    assert torch.allclose(logprobs.grad, torch.where(MASK, -advantages, 0.0), rtol=1e-14)


@pytest.mark.parametrize("change", [-100.0, 100.0])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_huge_ratios_stay_finite_and_are_counted(change: float, advantage: float) -> None:
    # correctness 48: no inf or NaN at |dlogp| = 100; the clamped count is reported.
    logprobs = torch.tensor([change, 0.0], requires_grad=True)
    gains = torch.tensor([advantage, advantage])
    result = policy_loss(logprobs, torch.zeros(2), gains, torch.ones(2).bool(), CLIP)
    result.loss.backward()
    assert result.loss.isfinite()
    assert logprobs.grad is not None
    assert logprobs.grad.isfinite().all()
    assert result.num_clamped == 1
    assert result.log_ratio_max == 100
    assert result.ratio_max <= math.exp(20.001)


def test_statistics_match_independent_formulas() -> None:
    # correctness 65
    logprobs, old, advantages = noise(0), noise(1), noise(2)
    result = policy_loss(logprobs, old, advantages, MASK, CLIP)
    change = (logprobs - old)[MASK]
    ratio, gains = change.exp(), advantages[MASK]
    bound = ((ratio > 1.2) & (gains > 0)) | ((ratio < 0.8) & (gains < 0))
    assert result.clipped == bound.sum()
    assert result.approx_kl.item() == pytest.approx((change**2 / 2).sum().item())
    assert result.ratio_sum.item() == pytest.approx(ratio.sum().item())
    assert result.ratio_square_sum.item() == pytest.approx((ratio**2).sum().item())
    assert result.ratio_max.item() == pytest.approx(ratio.max().item())
    assert result.log_ratio_max.item() == pytest.approx(change.abs().max().item())


def test_only_the_loss_carries_a_gradient() -> None:
    results = [
        policy_loss(noise(0).requires_grad_(), noise(1), noise(2), MASK, CLIP),
        value_loss(noise(0).requires_grad_(), noise(1), noise(2), MASK, 0.2),
        ranking_loss(noise(0).requires_grad_(), MASK, torch.zeros(8)),
    ]
    for result in results:
        named = {name: getattr(result, name) for name in type(result).__dataclass_fields__}
        assert [name for name, tensor in named.items() if tensor.requires_grad] == ["loss"]


def test_an_unmoved_value_is_not_clipped() -> None:
    # correctness 50: v == v_old -> half the plain squared error and its gradient.
    values, returns = noise(0).requires_grad_(), noise(2)
    result = value_loss(values, noise(0), returns, MASK, 0.2)
    result.loss.backward()
    errors = torch.where(MASK, noise(0) - returns, 0.0)
    assert result.loss.item() == pytest.approx(0.5 * (errors**2).sum().item())
    assert result.squared_error.item() == pytest.approx((errors**2).sum().item())
    assert result.clipped == 0
    assert values.grad is not None
    assert torch.allclose(values.grad, errors, rtol=1e-12)


@pytest.mark.parametrize(
    ("value", "target", "loss", "gradient", "clipped"),
    [
        (0.1, 1.0, 0.405, -0.9, 0),  # within the range
        (0.5, 1.0, 0.32, 0.0, 1),  # moved too far towards the target: clipped
        (-0.5, 1.0, 1.125, -1.5, 0),  # moved away: full pull back
        (1.9, 1.0, 0.405, 0.9, 0),  # overshot: the plain error is the larger
        (1.5, 1.0, 0.32, 0.0, 1),  # overshot a little: clipped
    ],
)
def test_value_clip(
    value: float, target: float, loss: float, gradient: float, clipped: int
) -> None:
    # correctness 50: old value 0, range 0.2; gradient zero when the clipped branch is larger.
    values = torch.tensor([value], dtype=torch.float64, requires_grad=True)
    result = value_loss(
        values, torch.zeros(1).double(), torch.tensor([target]).double(), torch.ones(1).bool(), 0.2
    )
    result.loss.backward()
    assert values.grad is not None
    assert result.loss.item() == pytest.approx(loss)
    assert values.grad.item() == pytest.approx(gradient)
    assert result.clipped == clipped


def test_sft_learns_only_masked_tokens() -> None:
    # correctness 5: zero gradient for the prompt; the sum, not the mean.
    logprobs = torch.tensor([[-1.0, -2.0, -3.0, math.nan]], requires_grad=True)
    loss = sft_loss(logprobs, torch.tensor([[False, True, True, False]]))
    loss.backward()
    assert loss.item() == 5.0
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[0.0, -1.0, -1.0, 0.0]]


def rank(scores: Tensor, margin: Tensor | None = None) -> RankingLoss:
    present = torch.ones_like(scores, dtype=torch.bool)
    return ranking_loss(scores, present, torch.zeros(len(scores)) if margin is None else margin)


def test_equal_scores_give_ln_2_and_half_the_pairs() -> None:
    # correctness 14: a zero head.
    for num_answers in (2, 4):
        result = rank(torch.zeros(3, num_answers))
        assert (result.loss / result.rows).item() == pytest.approx(0.693147, abs=1e-6)
        assert result.correct / result.pairs == 0.5


@settings(max_examples=50, deadline=None)
@given(chosen=st.floats(-50, 50), rejected=st.floats(-50, 50), shift=st.floats(-1e3, 1e3))
def test_bradley_terry_identities(chosen: float, rejected: float, shift: float) -> None:
    # correctness 15: antisymmetry, shift invariance, the gradient.
    pair = torch.tensor([[chosen, rejected]], dtype=torch.float64, requires_grad=True)
    loss = rank(pair).loss
    swapped = rank(pair.flip(1)).loss
    assert (loss - swapped).item() == pytest.approx(-(chosen - rejected), abs=1e-9)
    assert rank(pair + shift).loss.item() == pytest.approx(loss.item(), abs=1e-9)
    loss.backward()
    assert pair.grad is not None
    expected = -1 / (1 + math.exp(chosen - rejected))
    assert pair.grad[0, 0].item() == pytest.approx(expected, abs=1e-9)
    assert pair.grad[0, 1].item() == pytest.approx(-expected, abs=1e-9)


@pytest.mark.parametrize("gap", [-1e4, 1e4])
def test_bradley_terry_is_finite_at_huge_gaps(gap: float) -> None:
    # correctness 15: through logsigmoid.
    pair = torch.tensor([[gap, 0.0]], requires_grad=True)
    result = rank(pair)
    result.loss.backward()
    assert result.loss.item() == max(0.0, -gap)
    assert pair.grad is not None
    assert pair.grad.isfinite().all()


def test_k_wise_loss_is_the_mean_of_pairwise_losses() -> None:
    # correctness 16: weight 1 / C(k, 2) a row, absent answers left out whatever stands there.
    scores = noise(4)
    present = length_mask(torch.tensor([5, 2, 3, 4, 1, 0, 2, 5]), 5)
    expected = right = 0.0
    pairs = 0
    for row, there in zip(scores, present, strict=True):
        both = list(combinations(row[there].tolist(), 2))
        losses = [math.log1p(math.exp(worse - better)) for better, worse in both]
        expected += sum(losses) / len(both) if both else 0.0
        right += sum(better > worse for better, worse in both)
        pairs += len(both)
    result = ranking_loss(torch.where(present, scores, math.nan), present, torch.zeros(8))
    assert result.loss.item() == pytest.approx(expected)
    assert (result.rows, result.pairs, result.correct) == (6, pairs, right)


def test_absent_answers_get_no_gradient() -> None:
    present = torch.tensor([[True, True, False]])
    scores = torch.tensor([[1.0, 2.0, math.nan]], requires_grad=True)
    (
        ranking_loss(scores, present, torch.zeros(1)).loss + centering_loss(scores, present)
    ).backward()
    assert scores.grad is not None
    assert scores.grad.isfinite().all()
    assert scores.grad[0, 2] == 0


def test_the_margin_is_asked_of_pairs_only() -> None:
    margin = torch.tensor([1.5])
    with_margin = rank(torch.tensor([[2.0, 0.0]]), margin)
    assert with_margin.loss.item() == pytest.approx(rank(torch.tensor([[0.5, 0.0]])).loss.item())
    assert with_margin.correct == 1, "accuracy and gap are of the raw scores"
    assert with_margin.score_gap == 2
    three = torch.tensor([[2.0, 0.0, -1.0]])
    assert rank(three, margin).loss == rank(three).loss
    two_of_three = torch.tensor([[True, True, False]])
    found = ranking_loss(three, two_of_three, margin)
    assert found.loss.item() == pytest.approx(with_margin.loss.item())


def test_centering_is_the_squared_sum_of_each_pair() -> None:
    scores = torch.tensor([[1.0, 2.0, 9.0], [1.0, 2.0, 3.0], [4.0, 9.0, 9.0]])
    present = length_mask(torch.tensor([2, 3, 1]), 3)
    assert centering_loss(scores, present).item() == pytest.approx(9 + (9 + 16 + 25) / 3)


def test_masked_mean_of_the_loss_is_a_token_mean_not_a_row_mean() -> None:
    # correctness 47: dividing the sum by the token count weighs every token once.
    per_token = torch.where(MASK, noise(0), 0.0)
    assert (sft_loss(noise(0), MASK) / MASK.sum()).item() == pytest.approx(
        -masked_mean(per_token, MASK).item()
    )
    by_row = (per_token.sum(1) / LENGTHS).mean()
    assert by_row.item() != pytest.approx(masked_mean(per_token, MASK).item())
