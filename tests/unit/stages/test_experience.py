"""make_experience: padding never counts, and rewards add up to score minus KL price."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from statistics import correlation, fmean, pstdev, pvariance

import pytest
import torch
from torch import Tensor

from rlhf.algo.kl import FixedKL
from rlhf.algo.scaling import NoScale, RunningScale
from rlhf.config.stages import PPOConfig
from rlhf.flow.rollout import Rollout, Scores
from rlhf.stages.experience import Terms, make_experience, source_figures
from tests import models

POISONS = {"logprobs_BR": 1e6, "ref_logprobs_BR": -3e5, "values_BR": 7e4}


def drawn(rollout: Rollout, seed: int = 0) -> Scores:
    draw = torch.Generator().manual_seed(seed)
    mask_BR = rollout.response_mask_BR

    def values(offset: float) -> Tensor:
        return (torch.randn(mask_BR.shape, generator=draw) + offset) * mask_BR

    return Scores(
        score_B=torch.randn(len(rollout), generator=draw),
        parts_BC=torch.zeros(len(rollout), 1),
        logprobs_BR=values(-2),
        ref_logprobs_BR=values(-2),
        values_BR=values(0),
    )


def terms(kl_coef: float, config: PPOConfig, **changes: object) -> Terms:
    made = {"kl": FixedKL(kl_coef), "scale": NoScale(), "longest_response": 8, **changes}
    return Terms(config=config, **made)


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
    clean, seen = make_experience(rollout, scores, terms(0.1, config))
    dirty, seen_dirty = make_experience(rollout, poisoned(scores, mask_BR), terms(0.1, config))
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
    config = PPOConfig(missing_eos_penalty=penalty, kl_coef=kl_coef)
    _, seen = make_experience(rollout, scores, terms(kl_coef, config))
    kl_B = (scores.logprobs_BR - scores.ref_logprobs_BR).double().sum(1)
    expected_B = scores.score_B - penalty * ~rollout.finished_B - kl_coef * kl_B
    assert seen["objective/rlhf_reward"] == pytest.approx(expected_B.mean().item(), rel=1e-5)
    assert seen["objective/kl"] == pytest.approx(kl_B.mean().item(), rel=1e-6)
    assert seen["objective/non_score_reward"] == pytest.approx(-kl_coef * kl_B.mean().item())


def test_undiscounted_returns_of_the_first_token_are_the_sum_of_rewards():
    rollout, scores = models.rollout(), drawn(models.rollout())
    config = PPOConfig(gae_lambda=1.0, missing_eos_penalty=0.0)
    experience, _ = make_experience(rollout, scores, terms(0.2, config))
    kl_B = (scores.logprobs_BR - scores.ref_logprobs_BR).sum(1)
    assert torch.allclose(experience.returns_BR[:, 0], scores.score_B - 0.2 * kl_B, atol=1e-5)


def test_whitening_is_over_the_real_tokens_and_may_be_left_out():
    rollout, scores = models.rollout(), drawn(models.rollout())
    mask_BR = rollout.response_mask_BR
    white, _ = make_experience(rollout, scores, terms(0.1, PPOConfig()))
    plain, seen = make_experience(rollout, scores, terms(0.1, PPOConfig(whiten_advantages=False)))
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
    _, seen = make_experience(rollout, drawn(rollout), terms(0.1, PPOConfig()))
    assert all(torch.tensor(value).isfinite() for value in seen.means().values())


PLAIN = {"whiten_advantages": False, "missing_eos_penalty": 0.0, "gae_lambda": 1.0}


def first_returns(rollout: Rollout, scores: Scores, kl_coef: float, config: PPOConfig) -> Tensor:
    """What a response earns in all, as the advantages of its first token see it."""
    nothing = replace(scores, values_BR=torch.zeros_like(scores.values_BR))
    return make_experience(rollout, nothing, terms(kl_coef, config))[0].advantages_BR[:, 0]


def test_responses_to_one_prompt_are_compared_with_each_other():
    # correctness 42: group baselines; the advantages of a prompt's responses sum to 0.
    rollout, scores = models.rollout(6), drawn(models.rollout(6))
    config = PPOConfig(advantage_estimator="rloo", samples_per_prompt=3, **PLAIN)
    found_B = first_returns(rollout, scores, 0.1, config)
    kl_B = (scores.logprobs_BR - scores.ref_logprobs_BR).sum(1)
    earned_23 = (scores.score_B - 0.1 * kl_B).view(2, 3)
    wanted_23 = 1.5 * (earned_23 - earned_23.mean(1, keepdim=True))
    assert torch.allclose(found_B.view(2, 3), wanted_23, atol=1e-5)


def test_nearly_too_long_responses_owe_a_penalty():
    rollout, scores = models.rollout(), drawn(models.rollout())
    free = first_returns(rollout, scores, 0.0, PPOConfig(**PLAIN))
    config = PPOConfig(overlong_penalty=2.0, overlong_buffer=4, **PLAIN)
    owed_B = 2.0 * (rollout.response_lengths_B - 4).clamp(min=0) / 4
    assert owed_B.max() > 0
    assert torch.allclose(first_returns(rollout, scores, 0.0, config), free - owed_B, atol=1e-6)


def test_scaled_scores_keep_their_mean_and_are_reported_as_they_came():
    # correctness 41, 42: a running standard deviation, never a mean shift.
    rollout, scores = models.rollout(), drawn(models.rollout())
    scores = replace(scores, score_B=scores.score_B * 3 + 5)
    config = PPOConfig(**PLAIN)
    given = terms(0.0, config, scale=RunningScale())
    made, seen = make_experience(rollout, scores, given)
    wanted_B = scores.score_B / scores.score_B.std(correction=0)
    assert torch.allclose(made.returns_BR[:, 0], wanted_B, atol=1e-5)
    assert seen["objective/scores"] == pytest.approx(scores.score_B.mean().item())


def test_tokens_the_sampler_made_too_likely_weigh_less():
    # correctness 63: the weight is min(trainer / sampler, cap), and 1 where both agree.
    rollout, scores = models.rollout(), drawn(models.rollout())
    mask_BR = rollout.response_mask_BR
    plain, _ = make_experience(rollout, scores, terms(0.1, PPOConfig()))
    agreeing = replace(rollout, sampling_logprobs_BR=scores.logprobs_BR)
    config = PPOConfig(importance_cap=2.0)
    same, _ = make_experience(agreeing, scores, terms(0.1, config))
    assert torch.equal(same.advantages_BR, plain.advantages_BR)
    other = replace(rollout, sampling_logprobs_BR=scores.logprobs_BR - 0.3)
    more, _ = make_experience(other, scores, terms(0.1, config))
    ratio = more.advantages_BR[mask_BR] / plain.advantages_BR[mask_BR]
    assert torch.allclose(ratio, torch.tensor(0.3).exp(), rtol=1e-4)
    far = replace(rollout, sampling_logprobs_BR=scores.logprobs_BR - 30)
    most, _ = make_experience(far, scores, terms(0.1, config))
    assert torch.allclose(most.advantages_BR, 2 * plain.advantages_BR, rtol=1e-5)


def test_values_are_told_by_quarter_of_the_response_only_where_there_are_values():
    # correctness 53: a value role biased early in the response shows.
    rollout, scores = models.rollout(), drawn(models.rollout())
    _, seen = make_experience(rollout, scores, terms(0.1, PPOConfig()))
    quarter = [
        scores.values_BR[row, slot].item()
        for row, length in enumerate(rollout.response_lengths_B.tolist())
        for slot in range(length)
        if 4 * slot // length == 1
    ]
    assert seen["value/quarter_2"] == pytest.approx(sum(quarter) / len(quarter), abs=1e-6)
    config = PPOConfig(advantage_estimator="reinforce_pp")
    _, without = make_experience(rollout, scores, terms(0.1, config))
    assert not any(name.startswith(("values/", "val/")) for name in without)


def test_the_figures_are_those_of_independent_formulas():
    # correctness 26, 31, 38, 65: token by token in plain Python, from rollout and scores alone.
    rollout, coef, penalty, gae_lambda = models.rollout(), 0.3, 0.7, 0.9
    scores = drawn(rollout)
    sampled_BR = scores.logprobs_BR + 0.1 * drawn(rollout, seed=1).values_BR
    rollout = replace(rollout, sampling_logprobs_BR=sampled_BR)
    config = PPOConfig(missing_eos_penalty=penalty, gae_lambda=gae_lambda)
    kl, shaped, gains, targets, values, gaps = [], [], [], [], [], []
    for row, length in enumerate(rollout.response_lengths_B.tolist()):
        now, ref, drew, value = (
            tensor[row, :length].double().tolist()
            for tensor in (scores.logprobs_BR, scores.ref_logprobs_BR, sampled_BR, scores.values_BR)
        )
        rewards = [-coef * (p - q) for p, q in zip(now, ref, strict=True)]
        rewards[-1] += float(scores.score_B[row]) - penalty * (not rollout.finished_B[row])
        steps = [r + v for r, v in zip(rewards, [*value[1:], 0.0], strict=True)]
        errors = [s - v for s, v in zip(steps, value, strict=True)]
        gain = [
            sum(gae_lambda ** (u - t) * errors[u] for u in range(t, length)) for t in range(length)
        ]
        kl.append(sum(now) - sum(ref))
        shaped.append(sum(rewards))
        gains += gain
        targets += [g + v for g, v in zip(gain, value, strict=True)]
        values += value
        gaps += [s - p for s, p in zip(drew, now, strict=True)]
    left = [t - v for t, v in zip(targets, values, strict=True)]
    lengths = rollout.response_lengths_B.tolist()
    score = scores.score_B.tolist()
    wanted = {
        "objective/scores": fmean(score),
        "objective/scores_std": pstdev(score),
        "objective/rlhf_reward": fmean(shaped),
        "objective/rlhf_reward_std": pstdev(shaped),
        "objective/non_score_reward": -coef * fmean(kl),
        "objective/kl": fmean(kl),
        "objective/kl_per_token": sum(kl) / sum(lengths),
        "objective/kl_coef": coef,
        "objective/score_length_correlation": correlation(score, lengths),
        "num_tokens": sum(lengths) + int(rollout.prompt_lengths_B.sum()),
        "completions/mean_length": fmean(lengths),
        "completions/eos_rate": 4 / 7,
        "advantages/mean": fmean(gains),
        "advantages/std": pstdev(gains),
        "returns/mean": fmean(targets),
        "value/mean": fmean(values),
        "value/first": fmean(scores.values_BR[:, 0].tolist()),
        "value/explained_variance": 1 - pvariance(left) / pvariance(targets),
        "sampling/logprob_difference_max": max(map(abs, gaps)),
        "sampling/k3_mean": fmean(math.expm1(-gap) + gap for gap in gaps),
    }
    _, seen = make_experience(rollout, scores, terms(coef, config))
    got = seen.means()
    assert {name: got[name] for name in wanted} == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("value_lambda", [None, 1.0])
def test_a_value_of_zero_is_taught_the_rewards_alone(value_lambda):
    # correctness 43, 52: returns are the rewards to come, by a lambda of their own if there is one.
    rollout, coef = models.rollout(), 0.3
    scores = drawn(rollout)
    scores = replace(scores, values_BR=torch.zeros_like(scores.values_BR))
    config = PPOConfig(missing_eos_penalty=0.0, gae_lambda=0.5, value_gae_lambda=value_lambda)
    experience, _ = make_experience(rollout, scores, terms(coef, config))
    decay = 0.5 if value_lambda is None else value_lambda
    for row, length in enumerate(rollout.response_lengths_B.tolist()):
        rewards = (-coef * (scores.logprobs_BR - scores.ref_logprobs_BR))[row, :length].tolist()
        rewards[-1] += float(scores.score_B[row])
        wanted = [sum(decay**u * r for u, r in enumerate(rewards[t:])) for t in range(length)]
        assert experience.returns_BR[row, :length].tolist() == pytest.approx(wanted, abs=1e-5)


def test_whitening_never_reaches_the_value():
    # correctness 38, 40: over all real tokens of the step at once; returns bit-equal without it.
    rollout, scores = models.rollout(), drawn(models.rollout())
    mask_BR = rollout.response_mask_BR
    white, _ = make_experience(rollout, scores, terms(0.1, PPOConfig()))
    bare = PPOConfig(whiten_advantages=False)
    plain, _ = make_experience(rollout, scores, terms(0.1, bare))
    assert torch.equal(white.returns_BR, plain.returns_BR)
    assert torch.equal(white.old_values_BR, plain.old_values_BR)
    real_N = plain.advantages_BR[mask_BR].double()
    wanted_N = (real_N - real_N.mean()) / real_N.std(correction=0)
    torch.testing.assert_close(white.advantages_BR[mask_BR].double(), wanted_N, atol=1e-5, rtol=0)


def test_the_update_starts_from_what_the_trainer_said_and_not_the_sampler():
    # correctness 45: the ratio's denominator is the training forward of the rollout's policy.
    rollout, scores = models.rollout(), drawn(models.rollout())
    strange = replace(rollout, sampling_logprobs_BR=scores.logprobs_BR - 0.5)
    experience, _ = make_experience(strange, scores, terms(0.1, PPOConfig()))
    assert torch.equal(experience.old_logprobs_BR, scores.logprobs_BR)
    assert torch.equal(experience.old_values_BR, scores.values_BR)


def test_each_source_has_its_mean_and_spread_under_its_own_name():
    parts_BC = torch.tensor([[1.0, 1e6], [4.0, 1e6 + 1], [-2.0, 1e6 + 5]])
    found = source_figures(["taste", "far"], parts_BC).means()
    columns = {"taste": [1.0, 4.0, -2.0], "far": [1e6, 1e6 + 1, 1e6 + 5]}
    assert found == pytest.approx(
        {
            f"reward/{name}/{figure}": of(scores)
            for name, scores in columns.items()
            for figure, of in (("score", fmean), ("score_std", pstdev))
        },
        rel=1e-9,
    )
