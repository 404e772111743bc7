"""Rollout and scores in, experience out: the pure half of a PPO step.

Axes: B rows, R response tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.advantages import gae, lambda_returns
from rlhf.algo.diagnostics import explained_variance
from rlhf.algo.kl import kl_k1, kl_k3
from rlhf.algo.masking import masked_mean, masked_moments, masked_sum, masked_whiten, zero_padding
from rlhf.algo.shaping import penalise_missing_eos, token_rewards
from rlhf.config.stages import PPOConfig
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, Scores


def make_experience(
    rollout: Rollout, scores: Scores, kl_coef: float, config: PPOConfig
) -> tuple[Experience, Metrics]:
    """Shape rewards, estimate advantages and returns, whiten the advantages.

    Reward a token: -kl_coef * log(policy / reference), plus the score on the last token (Ouyang et
    al. 2022, section 3.5). Returns are made before whitening, so the value role never sees it.
    """
    mask_BR = rollout.response_mask_BR
    kl_BR = zero_padding(kl_k1(scores.logprobs_BR, scores.ref_logprobs_BR), mask_BR)
    score_B = penalise_missing_eos(scores.score_B, rollout.finished_B, config.missing_eos_penalty)
    rewards_BR = token_rewards(score_B, kl_BR, rollout.response_lengths_B, kl_coef)
    advantages_BR = gae(rewards_BR, scores.values_BR, mask_BR, config.discount, config.gae_lambda)
    value_lambda = config.gae_lambda if config.value_gae_lambda is None else config.value_gae_lambda
    returns_BR = lambda_returns(
        rewards_BR, scores.values_BR, mask_BR, config.discount, value_lambda
    )
    whitened_BR = masked_whiten(advantages_BR, mask_BR)
    experience = Experience(
        tokens_BT=rollout.tokens_BT,
        prompt_lengths_B=rollout.prompt_lengths_B,
        response_lengths_B=rollout.response_lengths_B,
        old_logprobs_BR=scores.logprobs_BR,
        old_values_BR=scores.values_BR,
        advantages_BR=whitened_BR if config.whiten_advantages else advantages_BR,
        returns_BR=returns_BR,
    )
    seen = {
        **_objective(rollout, scores, kl_BR, rewards_BR, kl_coef),
        **_estimates(scores, advantages_BR, returns_BR, mask_BR),
        **_sampling_gap(rollout, scores, mask_BR),
    }
    return experience, Metrics.of(seen)


def _objective(
    rollout: Rollout, scores: Scores, kl_BR: Tensor, rewards_BR: Tensor, kl_coef: float
) -> dict[str, float]:
    lengths_B = rollout.response_lengths_B.double()
    kl_B, shaped_B = kl_BR.double().sum(1), rewards_BR.double().sum(1)
    return {
        "objective/scores": scores.score_B.mean().item(),
        "objective/scores_std": scores.score_B.std(correction=0).item(),
        "objective/rlhf_reward": shaped_B.mean().item(),
        "objective/rlhf_reward_std": shaped_B.std(correction=0).item(),
        "objective/non_score_reward": (-kl_coef * kl_B).mean().item(),
        "objective/kl": kl_B.mean().item(),
        "objective/kl_per_token": (kl_B.sum() / lengths_B.sum()).item(),
        "objective/kl_coef": kl_coef,
        "objective/score_length_correlation": _correlation(scores.score_B.double(), lengths_B),
        "num_tokens": float(rollout.lengths_B.sum()),
        "completions/mean_length": lengths_B.mean().item(),
        "completions/eos_rate": rollout.finished_B.double().mean().item(),
    }


def _estimates(
    scores: Scores, advantages_BR: Tensor, returns_BR: Tensor, mask_BR: Tensor
) -> dict[str, float]:
    mean, variance = masked_moments(advantages_BR, mask_BR)
    return {
        "advantages/mean": mean.item(),
        "advantages/std": variance.sqrt().item(),
        "returns/mean": masked_mean(returns_BR, mask_BR).item(),
        "values/mean": masked_mean(scores.values_BR, mask_BR).item(),
        "values/first": scores.values_BR[:, 0].mean().item(),
        "val/explained_variance": explained_variance(scores.values_BR, returns_BR, mask_BR),
    }


def _sampling_gap(rollout: Rollout, scores: Scores, mask_BR: Tensor) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the trainer's: rounding, if all is well."""
    sampled_BR = zero_padding(rollout.sampling_logprobs_BR, mask_BR)
    trained_BR = zero_padding(scores.logprobs_BR, mask_BR)
    k3_sum = masked_sum(kl_k3(sampled_BR, trained_BR), mask_BR)
    return {
        "sampling/logprob_difference_max": (sampled_BR - trained_BR).abs().max().item(),
        "sampling/k3_mean": (k3_sum / mask_BR.sum()).item(),
    }


def _correlation(x_B: Tensor, y_B: Tensor) -> float:
    x_B, y_B = x_B - x_B.mean(), y_B - y_B.mean()
    scale = torch.sqrt(x_B.square().sum() * y_B.square().sum())
    return float((x_B * y_B).sum() / scale) if scale > 0 else 0.0
