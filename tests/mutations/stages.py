"""Mutations of rlhf/stages: how a step is put together out of what the roles answer."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

EXPERIENCE = "rlhf/stages/experience.py"
PPO = "rlhf/stages/ppo.py"
REWARD_MODEL = "rlhf/stages/reward_model.py"
REWARD_REPORT = "rlhf/stages/reward_report.py"
BEST = "rlhf/stages/best.py"

EXPERIENCE_TESTS = ("tests/unit/stages/test_experience.py",)
PPO_TESTS = ("tests/unit/stages/test_ppo.py",)
REWARD_MODEL_TESTS = ("tests/unit/stages/test_reward_model.py",)

MUTATIONS = (
    Mutation(
        "k3-in-the-reward",
        "it punishes tokens that fell below the reference and collapses the policy",
        EXPERIENCE,
        "zero_padding(kl_k1(scores.logprobs_BR, scores.ref_logprobs_BR), mask_BR)",
        "zero_padding(kl_k3(scores.logprobs_BR, scores.ref_logprobs_BR), mask_BR)",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "kl-of-the-reference",
        "policy and reference have changed places",
        EXPERIENCE,
        "kl_k1(scores.logprobs_BR, scores.ref_logprobs_BR)",
        "kl_k1(scores.ref_logprobs_BR, scores.logprobs_BR)",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "kl-from-the-samplers-logprobs",
        "rounding of the sampler becomes KL",
        EXPERIENCE,
        "kl_k1(scores.logprobs_BR, scores.ref_logprobs_BR)",
        "kl_k1(rollout.sampling_logprobs_BR, scores.ref_logprobs_BR)",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "rewards-whitened-with-mean-shift",
        "a constant is added to every token, which pays for length",
        EXPERIENCE,
        "rewards_BR = token_rewards(score_B, kl_BR, rollout.response_lengths_B, terms.kl.coef)",
        "rewards_BR = masked_whiten("
        "token_rewards(score_B, kl_BR, rollout.response_lengths_B, terms.kl.coef), mask_BR)",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "rewards-whitened-with-the-mean-added-back",
        "the score is rescaled by the deviation of token rewards, as in the first RLHF code",
        EXPERIENCE,
        "rewards_BR = token_rewards(score_B, kl_BR, rollout.response_lengths_B, terms.kl.coef)",
        "rewards_BR = token_rewards(score_B, kl_BR, rollout.response_lengths_B, terms.kl.coef)\n"
        "    rewards_BR = rewards_BR / masked_moments(rewards_BR, mask_BR)[1].sqrt()",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "advantages-whitened-a-sequence",
        "a good response and a bad one get the same advantages",
        EXPERIENCE,
        "whitened_BR = masked_whiten(advantages_BR, mask_BR)",
        "whitened_BR = torch.cat("
        "[masked_whiten(advantages_BR[[b]], mask_BR[[b]]) for b in range(len(mask_BR))])",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "targets-by-the-policys-lambda",
        "the value role's own lambda is never used",
        EXPERIENCE,
        "config.gae_lambda if config.value_gae_lambda is None else config.value_gae_lambda",
        "config.gae_lambda if config.value_gae_lambda is None else config.gae_lambda",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "missing-eos-is-free",
        "the penalty is asked for and held back",
        EXPERIENCE,
        "rollout.finished_B, terms.config.missing_eos_penalty)",
        "rollout.finished_B, 0 * terms.config.missing_eos_penalty)",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "overlong-is-free",
        "the penalty for nearly too long responses is held back",
        EXPERIENCE,
        "penalty=terms.config.overlong_penalty",
        "penalty=0 * terms.config.overlong_penalty",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "groups-of-strangers",
        "responses to different prompts are compared with each other",
        EXPERIENCE,
        "torch.arange(len(rewards_BR)) // config.samples_per_prompt",
        "torch.arange(len(rewards_BR)) % config.samples_per_prompt",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "returns-whitened",
        "the value role learns whitened returns",
        EXPERIENCE,
        "returns_BR=returns_BR,",
        "returns_BR=masked_whiten(returns_BR, mask_BR),",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "importance-of-nothing",
        "the weights of tokens the sampler liked too much are not applied",
        EXPERIENCE,
        "return advantages_BR * weight_BR",
        "return advantages_BR + 0 * weight_BR",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "scores-of-the-sampler-kept",
        "the update's ratio starts from the sampler's log-probabilities",
        EXPERIENCE,
        "old_logprobs_BR=scores.logprobs_BR",
        "old_logprobs_BR=rollout.sampling_logprobs_BR",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "whitening-cannot-be-turned-off",
        "the setting is read and not used",
        EXPERIENCE,
        "whitened_BR if config.whiten_advantages else advantages_BR",
        "whitened_BR if config.whiten_advantages else whitened_BR",
        EXPERIENCE_TESTS,
    ),
    Mutation(
        "policy-is-its-own-reference",
        "the KL is always 0",
        PPO,
        "self.reference.step_logprobs(rollout, step)",
        "self.policy.step_logprobs(rollout, step + 0)",
        PPO_TESTS,
    ),
    Mutation(
        "scores-in-the-order-of-other-chunks",
        "rows get the scores of others: they come as rows end, and not in their order",
        PPO,
        "rows = [chunk.rows_B for chunk in chunks]",
        "rows = [chunk.rows_B for chunk in reversed(chunks)]",
        PPO_TESTS,
    ),
    Mutation(
        "adaptive-kl-never-told",
        "the coefficient stays at its start",
        PPO,
        'self.terms.kl.observe(seen["objective/kl"], len(rollout))',
        "self.terms.kl.state()",
        PPO_TESTS,
    ),
    Mutation(
        "adaptive-kl-told-the-kl-a-token",
        "the target is in nats a response",
        PPO,
        'seen["objective/kl"]',
        'seen["objective/kl_per_token"]',
        PPO_TESTS,
    ),
    Mutation(
        "kl-coefficient-lost-on-resume",
        "the adaptive coefficient starts anew",
        PPO,
        'self.terms.kl.load(state["kl"])',
        "self.terms.kl.load(self.terms.kl.state())",
        PPO_TESTS,
    ),
    Mutation(
        "score-scale-lost-on-resume",
        "the running scale of the scores starts anew",
        PPO,
        'self.terms.scale.load(state["scale"])',
        "self.terms.scale.load(self.terms.scale.state())",
        PPO_TESTS,
    ),
    Mutation(
        "first-prompts-for-ever",
        "every step answers the prompts of the first",
        PPO,
        "prompts = self.prompts(step)",
        "prompts = self.prompts(0 * step)",
        PPO_TESTS,
    ),
    Mutation(
        "absent-answers-normalise",
        "zeros in place of missing answers enter the scores' mean",
        REWARD_MODEL,
        "reward.answer_scores(some).result()[some.lengths_BK > 0].double()",
        "reward.answer_scores(some).result().flatten().double()",
        REWARD_MODEL_TESTS,
    ),
    Mutation(
        "absent-answers-lose",
        "missing answers are counted as pairs",
        REWARD_MODEL,
        "ranking_loss(scores_BK, rankings.lengths_BK > 0, margin_B)",
        "ranking_loss(scores_BK, rankings.lengths_BK >= 0, margin_B)",
        REWARD_MODEL_TESTS,
    ),
    Mutation(
        "report-counts-ties-as-right",
        "a reward model that scores everything alike has accuracy 1",
        REWARD_REPORT,
        "return 0.5 if gap == 0 else float(gap > 0)",
        "return float(gap >= 0)",
        ("tests/unit/stages/test_reward_report.py",),
    ),
    Mutation(
        "length-baseline-of-long-answers-only",
        "that short answers win is not seen as a length bias",
        REWARD_REPORT,
        "max(by_length, 1 - by_length)",
        "max(by_length, 0.0)",
        ("tests/unit/stages/test_reward_report.py",),
    ),
    Mutation(
        "last-is-kept-for-best",
        "early stopping stops, and keeps the model that was no better",
        BEST,
        "if loss < self.loss or self._patience is None:",
        "if loss < self.loss or self.waited >= 0:",
        ("tests/unit/stages/test_best.py",),
    ),
)
