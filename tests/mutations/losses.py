"""Mutations of the objectives and of what weighs, compares and scales what goes into them."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

LOSSES = "rlhf/algo/losses.py"
AGGREGATION = "rlhf/algo/aggregation.py"
ESTIMATORS = "rlhf/algo/estimators.py"
IMPORTANCE = "rlhf/algo/importance.py"
SCALING = "rlhf/algo/scaling.py"
SHAPING = "rlhf/algo/shaping.py"

LOSS_TESTS = ("tests/unit/algo/test_losses.py",)
CLIP_TESTS = ("tests/golden/test_clip.py",)
QUADRANT_TESTS = ("tests/golden/test_published_numbers.py",)
AGGREGATION_TESTS = ("tests/unit/algo/test_aggregation.py",)
ESTIMATOR_TESTS = ("tests/unit/algo/test_estimators.py",)
IMPORTANCE_TESTS = ("tests/unit/algo/test_importance.py",)
SCALING_TESTS = ("tests/unit/algo/test_scaling.py",)

MUTATIONS = (
    Mutation(
        "no-clip",
        "the surrogate pays without limit",
        LOSSES,
        "_dual_clip(torch.max(plain, clipped), gains, clip.dual)",
        "_dual_clip(plain, gains, clip.dual)",
        QUADRANT_TESTS,
    ),
    Mutation(
        "clip-always",
        "a ratio that has gone the wrong way gets no gradient back",
        LOSSES,
        "_dual_clip(torch.max(plain, clipped), gains, clip.dual)",
        "_dual_clip(clipped, gains, clip.dual)",
        QUADRANT_TESTS,
    ),
    Mutation(
        "clip-takes-the-better",
        "the smaller of the two losses counts",
        LOSSES,
        "_dual_clip(torch.max(plain, clipped), gains, clip.dual)",
        "_dual_clip(torch.min(plain, clipped), gains, clip.dual)",
        QUADRANT_TESTS,
    ),
    Mutation(
        "clip-low-and-high-swapped",
        "clip-higher becomes clip-lower",
        LOSSES,
        "ratio.clamp(1 - clip.low, 1 + clip.high)",
        "ratio.clamp(1 - clip.high, 1 + clip.low)",
        CLIP_TESTS,
    ),
    Mutation(
        "dual-clip-never-binds",
        "a bad token that became likely costs without limit",
        LOSSES,
        "return torch.where(held, most, losses), held",
        "return losses, held",
        CLIP_TESTS,
    ),
    Mutation(
        "ratio-overflows",
        "a log-ratio of 100 is not held before exp",
        LOSSES,
        "LOG_RATIO_BOUND = 20.0",
        "LOG_RATIO_BOUND = 2000.0",
        LOSS_TESTS,
    ),
    Mutation(
        "policy-loss-is-a-mean",
        "each microbatch is averaged by itself",
        LOSSES,
        "loss = losses.sum()",
        "loss = losses.sum() / mask.sum().clamp(min=1)",
        LOSS_TESTS,
    ),
    Mutation(
        "ratio-statistics-count-pads",
        "padding, whose ratio is 1, is counted",
        LOSSES,
        "ratios = zero_padding(ratio, mask)",
        "ratios = ratio.detach()",
        LOSS_TESTS,
    ),
    Mutation(
        "approximate-kl-doubled",
        "the half of k2 is forgotten",
        LOSSES,
        "approx_kl=0.5 * log_ratio.square().sum()",
        "approx_kl=log_ratio.square().sum()",
        LOSS_TESTS,
    ),
    Mutation(
        "value-clip-off",
        "the clipped error is computed and not used",
        LOSSES,
        "loss = 0.5 * torch.max(plain, clipped).sum()",
        "loss = 0.5 * plain.sum()",
        LOSS_TESTS,
    ),
    Mutation(
        "value-clip-takes-the-better",
        "the smaller error counts",
        LOSSES,
        "loss = 0.5 * torch.max(plain, clipped).sum()",
        "loss = 0.5 * torch.min(plain, clipped).sum()",
        LOSS_TESTS,
    ),
    Mutation(
        "value-loss-without-its-half",
        "the gradient is twice as large",
        LOSSES,
        "loss = 0.5 * torch.max(plain, clipped).sum()",
        "loss = torch.max(plain, clipped).sum()",
        LOSS_TESTS,
    ),
    Mutation(
        "sft-loss-is-a-mean",
        "each microbatch is averaged by itself, the bug of gradient accumulation",
        LOSSES,
        "return -masked_sum(logprobs, mask)",
        "return -masked_sum(logprobs, mask) / mask.sum()",
        LOSS_TESTS,
    ),
    Mutation(
        "ranking-loss-with-the-wrong-sign",
        "the worse answer is paid",
        LOSSES,
        "logsigmoid(gap_BKK - margin_B[:, None, None])",
        "logsigmoid(-gap_BKK - margin_B[:, None, None])",
        LOSS_TESTS,
    ),
    Mutation(
        "ranking-loss-counts-pairs",
        "a prompt with four answers weighs six times one with two",
        LOSSES,
        "pairs_B = pair_BKK.sum(dim=(1, 2)).clamp(min=1)",
        "pairs_B = torch.ones_like(pair_BKK[:, 0, 0], dtype=x_BKK.dtype)",
        LOSS_TESTS,
    ),
    Mutation(
        "ranking-loss-averages-all-pairs",
        "the mean is over the pairs of the batch, not of each prompt",
        LOSSES,
        "(zero_padding(x_BKK, pair_BKK).sum(dim=(1, 2)) / pairs_B).sum()",
        "zero_padding(x_BKK, pair_BKK).sum() / pairs_B.sum() * len(pairs_B)",
        LOSS_TESTS,
    ),
    Mutation(
        "answers-compared-with-themselves",
        "the diagonal counts as pairs",
        LOSSES,
        "both_BKK.triu(diagonal=1)",
        "both_BKK.triu(diagonal=0)",
        LOSS_TESTS,
    ),
    Mutation(
        "margin-asked-of-rankings",
        "a margin meant for one pair is asked of all pairs of a row",
        LOSSES,
        "torch.where(present_BK.sum(dim=1) == 2, margin_B",
        "torch.where(present_BK.sum(dim=1) >= 2, margin_B",
        LOSS_TESTS,
    ),
    Mutation(
        "centring-on-the-difference",
        "what is held near 0 is the gap that training wants to grow",
        LOSSES,
        "scores_BK[:, :, None] + scores_BK[:, None, :]",
        "scores_BK[:, :, None] - scores_BK[:, None, :]",
        LOSS_TESTS,
    ),
    Mutation(
        "ties-are-right",
        "a model that scores everything alike has accuracy 1",
        LOSSES,
        "order_BKK = 0.5 * (gap_BKK.sign() + 1)",
        "order_BKK = (gap_BKK >= 0).to(gap_BKK.dtype)",
        LOSS_TESTS,
    ),
    Mutation(
        "token-mean-by-sequence",
        "each response is divided by its own length, which favours short good ones",
        AGGREGATION,
        "return torch.ones_like(lengths_B)",
        "return _seq_mean_token_mean(lengths_B, longest)",
        AGGREGATION_TESTS,
    ),
    Mutation(
        "divisor-of-the-batch",
        "Dr. GRPO's constant is the longest response of the batch",
        AGGREGATION,
        "_seq_mean_token_sum(lengths_B, longest) / longest",
        "_seq_mean_token_sum(lengths_B, longest) / lengths_B.max()",
        AGGREGATION_TESTS,
    ),
    Mutation(
        "baseline-knows-its-own-answer",
        "RLOO's mean holds the response itself",
        ESTIMATORS,
        "_on_every_token(gap_B * size_B / (size_B - 1).clamp(min=1), episodes)",
        "_on_every_token(gap_B, episodes)",
        ESTIMATOR_TESTS,
    ),
    Mutation(
        "grpo-with-the-biased-deviation",
        "the group's deviation divides by its size",
        ESTIMATORS,
        "total(gap_B.square()) / (size_B - 1).clamp(min=1)",
        "total(gap_B.square()) / size_B",
        ESTIMATOR_TESTS,
    ),
    Mutation(
        "dr-grpo-divides-by-the-deviation",
        "nearly solved prompts weigh more, which Dr. GRPO was made to prevent",
        ESTIMATORS,
        "return _on_every_token(_against_group(episodes)[0], episodes)",
        "return grpo(episodes)",
        ESTIMATOR_TESTS,
    ),
    Mutation(
        "groups-ignored",
        "the baseline is the mean of the batch, not of the prompt",
        ESTIMATORS,
        "episodes.group_B.unique(return_inverse=True)",
        "(0 * episodes.group_B).unique(return_inverse=True)",
        ESTIMATOR_TESTS,
    ),
    Mutation(
        "importance-not-truncated",
        "one unlikely token outweighs the batch",
        IMPORTANCE,
        "log_ratio_BR.exp().clamp(max=cap)",
        "log_ratio_BR.exp().clamp(max=1e6 * cap)",
        IMPORTANCE_TESTS,
    ),
    Mutation(
        "importance-upside-down",
        "sampler over policy",
        IMPORTANCE,
        "logprobs_BR.detach() - sampling_logprobs_BR.detach()",
        "sampling_logprobs_BR.detach() - logprobs_BR.detach()",
        IMPORTANCE_TESTS,
    ),
    Mutation(
        "gradient-through-the-importance-weight",
        "the weight is not detached",
        IMPORTANCE,
        "logprobs_BR.detach() - sampling_logprobs_BR.detach()",
        "logprobs_BR - sampling_logprobs_BR.detach()",
        IMPORTANCE_TESTS,
    ),
    Mutation(
        "score-scale-shifts-the-mean",
        "a good score becomes a punishment once the mean is above it",
        SCALING,
        "(score_B.double() / (deviation or 1.0))",
        "((score_B.double() - self._mean) / (deviation or 1.0))",
        SCALING_TESTS,
    ),
    Mutation(
        "overlong-penalty-pays-the-short",
        "the ramp goes on below its start",
        SHAPING,
        ".clamp(0.0, 1.0)",
        ".clamp(max=1.0)",
        ("tests/unit/algo/test_shaping.py",),
    ),
)
