"""make_experience: padding never counts, and rewards add up to score minus KL price."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from rlhf.config.stages import PPOConfig
from rlhf.flow.rollout import Rollout, Scores
from rlhf.stages.experience import make_experience
from tests import models

POISONS = {"logprobs_BR": 1e6, "ref_logprobs_BR": -3e5, "values_BR": 7e4}


def drawn(rollout: Rollout, seed: int = 0) -> Scores:
    draw = torch.Generator().manual_seed(seed)
    mask_BR = rollout.response_mask_BR

    def values(offset: float) -> Tensor:
        return (torch.randn(mask_BR.shape, generator=draw) + offset) * mask_BR

    return Scores(
        score_B=torch.randn(len(rollout), generator=draw),
        logprobs_BR=values(-2),
        ref_logprobs_BR=values(-2),
        values_BR=values(0),
    )


def poisoned(scores: Scores, mask_BR: Tensor) -> Scores:
    return replace(
        scores,
        **{
            name: torch.where(mask_BR, getattr(scores, name), poison)
            for name, poison in POISONS.items()
        },
    )


@pytest.mark.parametrize("value_lambda", [None, 1.0])
def test_poison_at_padding_changes_nothing_that_counts(value_lambda):
    rollout = models.rollout()
    mask_BR = rollout.response_mask_BR
    assert not mask_BR.all()
    scores, config = drawn(rollout), PPOConfig(value_gae_lambda=value_lambda)
    clean, seen = make_experience(rollout, scores, 0.1, config)
    dirty, seen_dirty = make_experience(rollout, poisoned(scores, mask_BR), 0.1, config)
    for field in fields(clean):
        one, other = getattr(clean, field.name), getattr(dirty, field.name)
        if field.name.startswith("old_"):
            one, other = one[mask_BR], other[mask_BR]
        assert torch.equal(one, other), field.name
    assert seen.means() == seen_dirty.means()
    assert clean.advantages_BR[~mask_BR].abs().sum() == 0
    assert clean.returns_BR[~mask_BR].abs().sum() == 0


def test_the_rewards_of_a_row_add_up_to_its_score_minus_the_price_of_its_kl():
    rollout, kl_coef, penalty = models.rollout(), 0.3, 0.7
    scores = drawn(rollout)
    _, seen = make_experience(
        rollout, scores, kl_coef, PPOConfig(missing_eos_penalty=penalty, kl_coef=kl_coef)
    )
    kl_B = (scores.logprobs_BR - scores.ref_logprobs_BR).double().sum(1)
    expected_B = scores.score_B - penalty * ~rollout.finished_B - kl_coef * kl_B
    assert seen["objective/rlhf_reward"] == pytest.approx(expected_B.mean().item(), rel=1e-5)
    assert seen["objective/kl"] == pytest.approx(kl_B.mean().item(), rel=1e-6)
    assert seen["objective/non_score_reward"] == pytest.approx(-kl_coef * kl_B.mean().item())


def test_undiscounted_returns_of_the_first_token_are_the_sum_of_rewards():
    rollout, scores = models.rollout(), drawn(models.rollout())
    config = PPOConfig(gae_lambda=1.0, missing_eos_penalty=0.0)
    experience, _ = make_experience(rollout, scores, 0.2, config)
    kl_B = (scores.logprobs_BR - scores.ref_logprobs_BR).sum(1)
    assert torch.allclose(experience.returns_BR[:, 0], scores.score_B - 0.2 * kl_B, atol=1e-5)


def test_whitening_is_over_the_real_tokens_and_may_be_left_out():
    rollout, scores = models.rollout(), drawn(models.rollout())
    mask_BR = rollout.response_mask_BR
    white, _ = make_experience(rollout, scores, 0.1, PPOConfig())
    plain, seen = make_experience(rollout, scores, 0.1, PPOConfig(whiten_advantages=False))
    assert white.advantages_BR[mask_BR].mean().item() == pytest.approx(0, abs=1e-6)
    assert white.advantages_BR[mask_BR].std(correction=0).item() == pytest.approx(1, abs=1e-2)
    assert plain.advantages_BR[mask_BR].mean().item() == pytest.approx(seen["advantages/mean"])
    assert torch.equal(white.returns_BR, plain.returns_BR)


def test_one_response_of_one_token_makes_finite_figures():
    rollout = models.rollout().select([0])
    rollout = replace(
        rollout,
        response_lengths_B=torch.ones(1, dtype=torch.long),
        sampling_logprobs_BR=torch.zeros(1, 1),
    )
    _, seen = make_experience(rollout, drawn(rollout), 0.1, PPOConfig())
    assert all(torch.tensor(value).isfinite() for value in seen.means().values())
