"""Mutations of the formulas: rewards, advantages, whitening, KL, log-probabilities."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

ADVANTAGES = "rlhf/algo/advantages.py"
MASKING = "rlhf/algo/masking.py"
SHAPING = "rlhf/algo/shaping.py"
KL = "rlhf/algo/kl.py"
LOGPROBS = "rlhf/algo/logprobs.py"

ADVANTAGE_TESTS = ("tests/unit/algo/test_advantages.py", "tests/golden/test_gae_brute_force.py")
MASKING_TESTS = ("tests/unit/algo/test_masking.py",)
SHAPING_TESTS = ("tests/unit/algo/test_shaping.py",)
KL_TESTS = ("tests/unit/algo/test_kl.py",)
LOGPROB_TESTS = ("tests/unit/algo/test_logprobs.py",)

MUTATIONS = (
    Mutation(
        "value-leaks-past-eos",
        "what the value role says of padding enters the last advantages",
        ADVANTAGES,
        "    values_BR = zero_padding(values_BR, mask_BR)\n",
        "    values_BR = values_BR.clone()\n",
        ADVANTAGE_TESTS,
    ),
    Mutation(
        "gae-bootstraps-across-the-end",
        "the value of the last token is taken for that of the token after it",
        ADVANTAGES,
        "torch.zeros_like(values_BR[:, :1])",
        "values_BR[:, -1:]",
        ADVANTAGE_TESTS,
    ),
    Mutation(
        "gae-forgets-the-discount",
        "gamma is applied to the next value but not to the next advantage",
        ADVANTAGES,
        "delta_B + discount * gae_lambda * advantage_B",
        "delta_B + gae_lambda * advantage_B",
        ADVANTAGE_TESTS,
    ),
    Mutation(
        "returns-from-whitened-advantages",
        "the value role's targets are made after the advantages were whitened",
        ADVANTAGES,
        "return advantages_BR + zero_padding(values_BR, mask_BR)",
        "return advantages_BR / advantages_BR.std() + zero_padding(values_BR, mask_BR)",
        ADVANTAGE_TESTS,
    ),
    Mutation(
        "whitening-over-pads",
        "mean and variance are taken over padding too",
        MASKING,
        "masked_moments(wide, mask)",
        "masked_moments(wide, torch.ones_like(mask))",
        MASKING_TESTS,
    ),
    Mutation(
        "whitening-with-the-mean-added-back",
        "advantages are scaled but not centred",
        MASKING,
        "zero_padding((wide - mean) * (variance + eps).rsqrt(), mask)",
        "zero_padding((wide - mean) * (variance + eps).rsqrt() + mean, mask)",
        MASKING_TESTS,
    ),
    Mutation(
        "whitening-unbiased",
        "torch's default variance divides by one less than the count",
        MASKING,
        "return mean, masked_mean((x - mean).square(), mask)",
        "return mean, masked_sum((x - mean).square(), mask) / (mask.sum() - 1)",
        ("tests/golden/test_published_numbers.py",),
    ),
    Mutation(
        "mask-by-multiplication",
        "a NaN at padding times 0 is a NaN",
        MASKING,
        "return torch.where(mask, x, torch.zeros((), dtype=x.dtype, device=x.device))",
        "return x * mask",
        MASKING_TESTS,
    ),
    Mutation(
        "mean-over-all-slots",
        "a masked sum is divided by the size of the padded tensor",
        MASKING,
        "masked_sum(x, mask) / mask.sum().clamp(min=1)",
        "masked_sum(x, mask) / max(1, mask.numel())",
        MASKING_TESTS,
    ),
    Mutation(
        "score-at-the-end-of-the-padding",
        "the score is parked in the last slot of the batch",
        SHAPING,
        "== lengths_B[:, None] - 1",
        "== torch.full_like(lengths_B[:, None], width - 1)",
        SHAPING_TESTS,
    ),
    Mutation(
        "score-on-the-first-pad",
        "the score is put after the EOS",
        SHAPING,
        "== lengths_B[:, None] - 1",
        "== lengths_B[:, None].clamp(max=width - 1)",
        SHAPING_TESTS,
    ),
    Mutation(
        "no-kl-on-eos",
        "the last token's KL is free",
        SHAPING,
        "length_mask(lengths_B, width)",
        "length_mask(lengths_B - 1, width)",
        SHAPING_TESTS,
    ),
    Mutation(
        "kl-paid-out",
        "the penalty has the wrong sign",
        SHAPING,
        "penalty_BR = -kl_coef *",
        "penalty_BR = kl_coef *",
        SHAPING_TESTS,
    ),
    Mutation(
        "missing-eos-replaces-the-score",
        "an answer cut short gets a fixed low score, which may beat a finished one",
        SHAPING,
        "torch.where(finished_B, score_B, score_B - penalty)",
        "torch.where(finished_B, score_B, torch.full_like(score_B, -penalty))",
        SHAPING_TESTS,
    ),
    Mutation(
        "missing-eos-punishes-finished-answers",
        "the condition is turned round",
        SHAPING,
        "torch.where(finished_B, score_B, score_B - penalty)",
        "torch.where(finished_B, score_B - penalty, score_B)",
        SHAPING_TESTS,
    ),
    Mutation(
        "kl-wrong-way-round",
        "reference less policy",
        KL,
        "return logprobs - ref_logprobs",
        "return ref_logprobs - logprobs",
        KL_TESTS,
    ),
    Mutation(
        "kl-clamped",
        "k1 is held within 10 nats, which moves the optimum silently",
        KL,
        "return logprobs - ref_logprobs",
        "return (logprobs - ref_logprobs).clamp(-10, 10)",
        KL_TESTS,
    ),
    Mutation(
        "k3-with-the-wrong-sign",
        "k3 of the other distribution",
        KL,
        "torch.expm1(-k1) + k1",
        "torch.expm1(k1) - k1",
        KL_TESTS,
    ),
    Mutation(
        "adaptive-kl-runs-away",
        "the coefficient falls when the KL is above its target",
        KL,
        "kl / self._target - 1)",
        "1 - kl / self._target)",
        KL_TESTS,
    ),
    Mutation(
        "adaptive-kl-unbounded",
        "one wild step moves the coefficient without limit",
        KL,
        "error = max(-MOST_CHANGE, min(MOST_CHANGE, kl / self._target - 1))",
        "error = kl / self._target - 1",
        KL_TESTS,
    ),
    Mutation(
        "adaptive-kl-counts-steps",
        "the horizon is taken for steps and not for responses",
        KL,
        "error * num_responses / self._horizon",
        "error / self._horizon",
        ("tests/golden/test_published_numbers.py",),
    ),
    Mutation(
        "temperature-ignored",
        "log-probabilities are taken at temperature 1",
        LOGPROBS,
        "wide_NV if temperature == 1.0 else",
        "wide_NV if temperature > 0.0 else",
        LOGPROB_TESTS,
    ),
    Mutation(
        "temperature-multiplied",
        "logits are multiplied by what should divide them",
        LOGPROBS,
        "wide_NV / temperature",
        "wide_NV * temperature",
        LOGPROB_TESTS,
    ),
    Mutation(
        "log-softmax-in-half-precision",
        "bfloat16 logits are reduced in bfloat16",
        LOGPROBS,
        "wide = torch.promote_types(logits_NV.dtype, torch.float32)",
        "wide = logits_NV.dtype",
        LOGPROB_TESTS,
    ),
    Mutation(
        "entropy-averaged-over-the-vocabulary",
        "a mean in place of the sum",
        LOGPROBS,
        "-(all_NV.exp_() * finite_NV).sum(-1)",
        "-(all_NV.exp_() * finite_NV).mean(-1)",
        LOGPROB_TESTS,
    ),
    Mutation(
        "gradient-of-logprobs-without-the-temperature",
        "the slope of the log-probabilities is that at temperature 1",
        LOGPROBS,
        "grads[0] / ctx.temperature",
        "grads[0] / 1.0",
        LOGPROB_TESTS,
    ),
    Mutation(
        "only-the-first-slice-of-logprobs",
        "rows behind the first piece that fits the cache are left as they lay in memory",
        LOGPROBS,
        "range(0, num_rows, max(1, size))",
        "range(0, min(num_rows, 1), max(1, size))",
        LOGPROB_TESTS,
    ),
)
