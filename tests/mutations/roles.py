"""Mutations of rlhf/roles that are not about learning: what is read, and where."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

REWARD = "rlhf/roles/reward.py"
REFERENCE = "rlhf/roles/reference.py"
WRITER = "rlhf/roles/sampler.py"
PASSES = "rlhf/roles/passes.py"

REWARD_TESTS = ("tests/unit/roles/test_reward.py",)
PASSES_TESTS = ("tests/unit/roles/test_passes.py",)

MUTATIONS = (
    Mutation(
        "reward-read-at-minus-1",
        "the score of a short answer is read at its padding",
        REWARD,
        "(rows.starts_B + answers.lengths_B - 1)",
        "(rows.starts_B + answers.lengths_B.max() - 1).clamp(max=rows.tokens_SW.numel() - 1)",
        REWARD_TESTS,
    ),
    Mutation(
        "reward-read-before-the-eos",
        "the score is read one token early",
        REWARD,
        "rows.starts_B + answers.lengths_B - 1",
        "rows.starts_B + answers.lengths_B - 2",
        REWARD_TESTS,
    ),
    Mutation(
        "margin-added",
        "a wanted gap makes the loss smaller",
        REWARD,
        "margin_B = self._config.margin_coef *",
        "margin_B = -self._config.margin_coef *",
        REWARD_TESTS,
    ),
    Mutation(
        "no-centring",
        "the coefficient is read and not used",
        REWARD,
        "loss = loss + self._config.center_coef * centering_loss(scores_BK, present_BK)",
        "loss = loss + 0.0 * centering_loss(scores_BK, present_BK)",
        REWARD_TESTS,
    ),
    Mutation(
        "policy-ids-in-the-reward-model",
        "a reward model with another tokenizer reads the policy's ids",
        REWARD,
        "self._policy_tokenizer,\n                WrittenExchange(",
        "None,\n                WrittenExchange(",
        REWARD_TESTS,
    ),
    Mutation(
        "not-normalised",
        "the deviation of the scores is left as it came",
        REWARD,
        'model.normalize(statistics["mean"], statistics["std"])',
        'model.normalize(statistics["mean"], 1.0)',
        REWARD_TESTS,
    ),
    Mutation(
        "rescored-at-temperature-1",
        "policy and reference are scored at temperature 1",
        REFERENCE,
        "*asked, self.temperature",
        "*asked, 1.0",
        ("tests/unit/roles/test_reference.py",),
    ),
    Mutation(
        "policy-rescored-at-temperature-1",
        "the policy alone is scored at temperature 1",
        WRITER,
        "temperature=sampling.temperature",
        "temperature=1.0",
        ("tests/unit/roles/test_sampler.py", "tests/unit/roles/test_reference.py"),
    ),
    Mutation(
        "every-step-draws-alike",
        "the seed of a step does not hang on the step",
        WRITER,
        'derive_seed(self._settings.seed, "generate", step)',
        'derive_seed(self._settings.seed, "generate", 0 * step)',
        ("tests/unit/roles/test_sampler.py",),
    ),
    Mutation(
        "token-scores-itself",
        "the log-probability is that of the token at the position, not of the next",
        "rlhf/algo/packing.py",
        "tokens_SW.flatten()[positions_N + 1]",
        "tokens_SW.flatten()[positions_N + 0]",
        PASSES_TESTS,
    ),
    Mutation(
        "answers-in-the-order-of-their-lengths",
        "rows come back as they were packed",
        PASSES,
        "in_row_order(answers, chunks)",
        "in_row_order(answers, [rows.sort().values for rows in chunks])",
        PASSES_TESTS,
    ),
    Mutation(
        "options-of-the-first-row",
        "every exchange is rendered with the tools and template options of the first",
        "rlhf/roles/reward.py",
        "options=options_of(rollout.columns[row])",
        "options=options_of(rollout.columns[0])",
        (
            "tests/unit/roles/test_reward.py::"
            "test_each_exchange_is_rendered_with_the_options_of_its_own_row",
        ),
    ),
    Mutation(
        "scoring-belongs-to-no-phase",
        "time/score_s loses the reward and the value role",
        "rlhf/roles/remote.py",
        'SCORE: Final = Remote(deal="rows", join=rows, phase="score")',
        'SCORE: Final = Remote(deal="rows", join=rows)',
        ("tests/unit/roles/test_remote.py",),
    ),
    Mutation(
        "rows-of-ranks-in-the-order-of-the-ranks",
        "scores and values come back in the order in which they were dealt",
        "rlhf/flow/tensors.py",
        "return join_rows(parts)[torch.cat(list(rows)).argsort()]",
        "return join_rows(parts)",
        ("tests/unit/runtime/test_proxy.py",),
    ),
    Mutation(
        "a-setting-that-came-later-changes-the-fingerprint",
        "an upgrade ends every unfinished run",
        "rlhf/checkpoint/settings.py",
        "if _differs(path, counts, usual)}",
        "if path in counts}",
        ("tests/unit/checkpoint/test_settings.py", "tests/unit/checkpoint/test_run.py"),
    ),
    Mutation(
        "one-restart-too-many",
        "a command starts again once more than it was allowed to",
        "rlhf/commands/restart.py",
        "if so_far.count >= most:",
        "if so_far.count > most:",
        ("tests/unit/commands/test_restart.py",),
    ),
    Mutation(
        "an-earlier-cluster-is-watched",
        "a command that started again takes the end of the cluster it left for that of its own",
        "rlhf/runtime/cluster_watch.py",
        "if pid not in before:",
        "if pid not in ():",
        ("tests/unit/runtime/test_cluster_watch.py",),
    ),
)
