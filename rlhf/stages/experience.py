"""Rollout and scores in, experience out: the pure half of a PPO step.

Axes: B rows, C sources of the reward, R response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algo.advantages import lambda_returns
from rlhf.algo.diagnostics import distinct_n, explained_variance, means_by_quarter
from rlhf.algo.estimators import Episodes, find_estimator
from rlhf.algo.importance import truncated_importance
from rlhf.algo.kl import KLController, kl_k1, kl_k3
from rlhf.algo.masking import masked_mean, masked_moments, masked_sum, masked_whiten, zero_padding
from rlhf.algo.scaling import ScoreScale
from rlhf.algo.shaping import penalize_missing_eos, penalize_overlong, token_rewards
from rlhf.config.stages import PPOConfig
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, Scores
from rlhf.observe.samples import score_name

DISTINCT_ROWS = 64
"""Responses whose word pairs are counted."""
MOST_SAMPLING_K3 = 0.02
"""Nats a token: log-ratios of 0.2, where clipping begins; in bf16 SmolLM2-135M has 5e-4."""
QUARTERS = ("value/quarter_1", "value/quarter_2", "value/quarter_3", "value/quarter_4")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms that turn scores into advantages: KL penalty, score scale, estimator."""

    config: PPOConfig
    kl: KLController
    scale: ScoreScale
    longest_response: int
    """generation.max_new_tokens."""


def make_experience(rollout: Rollout, scores: Scores, terms: Terms) -> tuple[Experience, Metrics]:
    """Shape rewards, estimate advantages and returns, whiten the advantages.

    Reward a token: -kl_coef * log(policy / reference), plus the score on the last token (Ouyang et
    al. 2022, section 3.5). Returns are made before whitening, so the value role never sees it.
    """
    config, mask_BR = terms.config, rollout.response_mask_BR
    kl_BR = zero_padding(kl_k1(scores.logprobs_BR, scores.ref_logprobs_BR), mask_BR)
    score_B = _penalised(rollout, terms.scale.scale(scores.score_B), terms)
    rewards_BR = token_rewards(score_B, kl_BR, rollout.response_lengths_B, terms.kl.coef)
    advantages_BR, returns_BR = _estimated(rewards_BR, scores.values_BR, mask_BR, config)
    whitened_BR = masked_whiten(advantages_BR, mask_BR)
    chosen_BR = whitened_BR if config.whiten_advantages else advantages_BR
    experience = Experience(
        tokens_BT=rollout.tokens_BT,
        prompt_lengths_B=rollout.prompt_lengths_B,
        response_lengths_B=rollout.response_lengths_B,
        old_logprobs_BR=scores.logprobs_BR,
        old_values_BR=scores.values_BR,
        advantages_BR=_weighted(chosen_BR, rollout, scores, config.importance_cap),
        returns_BR=returns_BR,
    )
    seen = {
        **_objective(rollout, scores, kl_BR, rewards_BR, terms.kl.coef),
        **_advantages(advantages_BR, mask_BR),
        **_sampling_gap(rollout, scores, mask_BR),
    }
    if find_estimator(config.advantage_estimator).reads_values:
        seen.update(_values(scores, returns_BR, rollout))
    return experience, Metrics.of(seen)


def source_figures(names: Sequence[str], parts_BC: Tensor) -> Metrics:
    """Return what each source of the reward said: `reward/NAME/score` and `reward/NAME/score_std`.

    Args:
        names: The sources' names.
        parts_BC: Their scores, not weighted.
    """
    parts_CB = parts_BC.double().T
    figures = {
        **{score_name(name): part_B.mean() for name, part_B in zip(names, parts_CB, strict=True)},
        **{
            f"{score_name(name)}_std": part_B.std(correction=0)
            for name, part_B in zip(names, parts_CB, strict=True)
        },
    }
    return Metrics.of({name: figure.item() for name, figure in figures.items()})


def _estimated(
    rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, config: PPOConfig
) -> tuple[Tensor, Tensor]:
    """Return the policy's advantages_BR and the value role's returns_BR."""
    episodes = Episodes(
        rewards_BR=rewards_BR,
        values_BR=values_BR,
        mask_BR=mask_BR,
        group_B=torch.arange(len(rewards_BR)) // config.samples_per_prompt,
        discount=config.discount,
        gae_lambda=config.gae_lambda,
    )
    advantages_BR = find_estimator(config.advantage_estimator).function(episodes)
    value_lambda = config.gae_lambda if config.value_gae_lambda is None else config.value_gae_lambda
    returns_BR = lambda_returns(rewards_BR, values_BR, mask_BR, config.discount, value_lambda)
    return advantages_BR, returns_BR


def _penalised(rollout: Rollout, score_B: Tensor, terms: Terms) -> Tensor:
    """Subtract the penalties for a response without EOS, and for one that is nearly too long."""
    score_B = penalize_missing_eos(score_B, rollout.finished_B, terms.config.missing_eos_penalty)
    return penalize_overlong(
        score_B,
        rollout.response_lengths_B,
        longest=terms.longest_response,
        buffer=terms.config.overlong_buffer,
        penalty=terms.config.overlong_penalty,
    )


def _weighted(advantages_BR: Tensor, rollout: Rollout, scores: Scores, cap: float | None) -> Tensor:
    """Weigh tokens by how much likelier the trainer makes them than the sampler did, up to cap.

    The surrogate is homogeneous in the advantage, so the weights may stand there.
    """
    if cap is None:
        return advantages_BR
    weight_BR = truncated_importance(
        scores.logprobs_BR, rollout.sampling_logprobs_BR, rollout.response_mask_BR, cap
    )
    return advantages_BR * weight_BR


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
        "completions/distinct_2": distinct_n(_some(rollout).response_tokens(), 2),
    }


def _some(rollout: Rollout) -> Rollout:
    """Return the first rows: variety falls with the number of texts, so it is always the same."""
    return rollout.select(torch.arange(min(len(rollout), DISTINCT_ROWS)))


def _advantages(advantages_BR: Tensor, mask_BR: Tensor) -> dict[str, float]:
    mean, variance = masked_moments(advantages_BR, mask_BR)
    return {"advantages/mean": mean.item(), "advantages/std": variance.sqrt().item()}


def _values(scores: Scores, returns_BR: Tensor, rollout: Rollout) -> dict[str, float]:
    mask_BR, values_BR = rollout.response_mask_BR, scores.values_BR
    quarters = means_by_quarter(values_BR, rollout.response_lengths_B)
    return {
        "returns/mean": masked_mean(returns_BR, mask_BR).item(),
        "value/mean": masked_mean(values_BR, mask_BR).item(),
        "value/first": values_BR[:, 0].mean().item(),
        **{name: mean for name, mean in zip(QUARTERS, quarters, strict=True) if mean is not None},
        "value/explained_variance": explained_variance(values_BR, returns_BR, mask_BR),
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


def is_near(seen: Metrics, config: PPOConfig) -> bool:
    """Return whether the sampler was the policy up to rounding, or its tokens are reweighted."""
    return seen["sampling/k3_mean"] <= MOST_SAMPLING_K3 or config.importance_cap is not None


def sampler_differs(seen: Metrics, sampler: str) -> str:
    """Return the error message for a sampler that is not the policy.

    Args:
        seen: Metrics of the step.
        sampler: The backend, and why it was chosen.
    """
    backend = sampler.partition(",")[0]
    other = "" if backend == "padded" else "generation.backend=padded or "
    return (
        f"the sampler ({sampler}) is {seen['sampling/k3_mean']:.2g} nats a token (k3) off the "
        f"policy that learns, at worst {seen['sampling/logprob_difference_max']:.2g} (rule at a "
        f"run's first step: at most {MOST_SAMPLING_K3:g} on average); nothing was learned; set "
        f"{other}engine.precision=fp32, or weigh the tokens with ppo.importance_cap=2"
    )


def _correlation(x_B: Tensor, y_B: Tensor) -> float:
    x_B, y_B = x_B - x_B.mean(), y_B - y_B.mean()
    scale = torch.sqrt(x_B.square().sum() * y_B.square().sum())
    return float((x_B * y_B).sum() / scale) if scale > 0 else 0.0
