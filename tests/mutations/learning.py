"""Mutations of the learner and of the two roles that learn in PPO."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

LEARNER = "rlhf/roles/learner.py"
POLICY = "rlhf/roles/policy.py"
VALUE = "rlhf/roles/value.py"
PASSES = "rlhf/roles/passes.py"
IMITATION = "rlhf/roles/imitation.py"
AVERAGE = "rlhf/roles/average.py"

LEARNER_TESTS = ("tests/unit/roles/test_learner.py",)
POLICY_TESTS = ("tests/unit/roles/test_policy.py",)
VALUE_TESTS = ("tests/unit/roles/test_value.py",)
PASSES_TESTS = ("tests/unit/roles/test_passes.py",)
KIT_TESTS = ("tests/golden/test_stability_kit.py",)
IMITATION_TESTS = ("tests/unit/roles/test_imitation.py",)

MUTATIONS = (
    Mutation(
        "mean-of-microbatch-means",
        "a microbatch is divided by its own rows, so a short one weighs as much as a long one",
        LEARNER,
        "objective.coef * weight / max(objective.count, 1.0)",
        "objective.coef * weight / len(rows)",
        LEARNER_TESTS,
    ),
    Mutation(
        "filler-row-learned",
        "a rank without rows adds the gradient of the row it runs to keep step",
        LEARNER,
        "weight = 1.0 if len(chunk) else 0.0",
        "weight = 1.0 if len(chunk) >= 0 else 0.0",
        LEARNER_TESTS,
    ),
    Mutation(
        "rate-restarts-on-resume",
        "warm-up begins anew after every resume",
        LEARNER,
        "self.num_updates = int(state.pop(NUM_UPDATES))",
        "self.num_updates = 0 * int(state.pop(NUM_UPDATES))",
        LEARNER_TESTS,
    ),
    Mutation(
        "rate-stands-still",
        "updates are not counted, so the rate never leaves its first value",
        LEARNER,
        "self.num_updates += 1",
        "self.num_updates += 0",
        LEARNER_TESTS,
    ),
    Mutation(
        "loss-not-finite-is-applied",
        "a NaN reaches the weights",
        LEARNER,
        "if not math.isfinite(loss):",
        "if loss is None:",
        LEARNER_TESTS,
    ),
    Mutation(
        "old-logprobs-refreshed",
        "the ratio is taken against the policy of this minute, so the clip never binds",
        POLICY,
        "batch.old_logprobs_BR.to(device)",
        "logprobs_BR.detach()",
        POLICY_TESTS,
    ),
    Mutation(
        "policy-loss-by-rows",
        "the sum over tokens is divided by the responses",
        POLICY,
        "count=float(minibatch.response_lengths_B.sum())",
        "count=float(len(minibatch))",
        POLICY_TESTS,
    ),
    Mutation(
        "one-epoch-again-and-again",
        "the epochs of a step take the same minibatches",
        PASSES,
        '"minibatches", step, epoch)',
        '"minibatches", step, 0 * epoch)',
        (*PASSES_TESTS, *POLICY_TESTS),
    ),
    Mutation(
        "later-epochs-left-out",
        "every step takes one epoch",
        PASSES,
        "for epoch in range(settings.ppo.num_epochs):",
        "for epoch in range(settings.ppo.num_epochs)[:1]:",
        (*POLICY_TESTS, *VALUE_TESTS),
    ),
    Mutation(
        "first-ratio-not-watched",
        "a run whose scoring and update see different models goes on",
        "rlhf/roles/first_ratio.py",
        "if not found <= most:",
        "if not found <= 1e6 + most:",
        POLICY_TESTS,
    ),
    Mutation(
        "sft-learns-its-own-position",
        "each token is predicted from itself",
        IMITATION,
        "(places_N - 1).to(device)",
        "(places_N - 0).to(device)",
        POLICY_TESTS,
    ),
    Mutation(
        "sft-loss-over-all-tokens",
        "the mask of what is to be learned is not used",
        IMITATION,
        "learned_BT = batch.loss_mask_BT[:, : int(batch.lengths_B.max())].clone()",
        "learned_BT = batch.tokens_BT[:, : int(batch.lengths_B.max())] > 0",
        (*IMITATION_TESTS, *POLICY_TESTS),
    ),
    Mutation(
        "sft-at-the-sampling-temperature",
        "texts are learned at another temperature than 1",
        IMITATION,
        "            1.0,\n",
        "            0.8,\n",
        POLICY_TESTS,
    ),
    Mutation(
        "ptx-coefficient-ignored",
        "the language-modelling loss counts as much as the surrogate",
        IMITATION,
        "coef=coef",
        "coef=1.0 + 0 * coef",
        KIT_TESTS,
    ),
    Mutation(
        "average-with-the-decay-turned-round",
        "the average keeps what it should forget",
        AVERAGE,
        "lerp_(now.float(), 1 - self._decay)",
        "lerp_(now.float(), self._decay)",
        ("tests/unit/roles/test_average.py",),
    ),
    Mutation(
        "average-not-saved",
        "the last weights are written, though an average is kept",
        POLICY,
        "None if self._average is None else self._average.weights()",
        "None if self._average is None else None",
        KIT_TESTS,
    ),
    Mutation(
        "epochs-never-stop-early",
        "the limit of the approximate KL is read and not used",
        POLICY,
        'limit is not None and update.means["policy/approxkl_avg"] > limit',
        'limit is not None and update.means["policy/approxkl_avg"] > 1e9 + limit',
        KIT_TESTS,
    ),
    Mutation(
        "sequences-averaged-by-default",
        "every response is divided by its own length, whatever the mode",
        POLICY,
        "self._config.loss_aggregation,",
        '"seq_mean_token_mean",',
        KIT_TESTS,
    ),
    Mutation(
        "clip-higher-ignored",
        "the upper bound is that of the lower side",
        POLICY,
        "Clip(low, low if high is None else high, settings.ppo.dual_clip)",
        "Clip(low, low, settings.ppo.dual_clip)",
        KIT_TESTS,
    ),
    Mutation(
        "value-read-one-token-late",
        "the value of a token is read after it was written",
        VALUE,
        "positions_N.to(device), position_ids_SW",
        "(positions_N + 1).to(device), position_ids_SW",
        VALUE_TESTS,
    ),
    Mutation(
        "old-values-refreshed",
        "the value clip is centred on the value of this minute",
        VALUE,
        "batch.old_values_BR.to(device)",
        "values_BR.detach()",
        VALUE_TESTS,
    ),
    Mutation(
        "value-loss-by-rows",
        "the sum over tokens is divided by the responses",
        VALUE,
        "count = float(minibatch.response_lengths_B.sum())",
        "count = float(len(minibatch))",
        VALUE_TESTS,
    ),
)
