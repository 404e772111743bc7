"""Mutations of the reward: sources lost, misplaced or misweighed on their way to one score."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MIX, SOURCES = "rlhf/rewards/mix.py", "rlhf/rewards/sources.py"
ASKED, PIPELINE = "rlhf/config/rewards.py", "rlhf/stages/pipeline.py"
ROLE, BENCH = "rlhf/roles/reward.py", "rlhf/runtime/reward_bench.py"
EXPERIENCE, SAMPLES = "rlhf/stages/experience.py", "rlhf/stages/samples.py"
CHECK, FIT = "rlhf/checks/reward.py", "rlhf/planning/fit.py"

STEP = "tests/wiring/test_second_step.py"
MANY = tuple(
    f"{STEP}::{name}[many]"
    for name in (
        "test_the_weights_after_the_second_step_are_the_plain_programs",
        "test_every_figure_of_both_steps_is_the_plain_programs",
    )
)
TOLD = (f"{STEP}::test_a_reward_of_many_is_what_each_source_says_by_its_weight",)
AGAIN = ("tests/wiring/test_again.py",)
ASKED_TESTS = ("tests/unit/config/test_rewards.py",)
SOURCES_TESTS = ("tests/unit/rewards/test_sources.py",)

MUTATIONS = (
    Mutation(
        "every-source-counts-once",
        "the weights of the sources are left out of the sum",
        MIX,
        "source.weight * part_B",
        "part_B",
        MANY,
    ),
    Mutation(
        "columns-in-the-order-they-are-asked-in",
        "functions are weighed and shown as the models that stand before them",
        MIX,
        "torch.cat([by_rows_BC, by_batch_BC], 1)[:, order]",
        "torch.cat([by_rows_BC, by_batch_BC], 1)",
        MANY,
    ),
    Mutation(
        "the-last-source-alone",
        "each source takes the place of those before it",
        MIX,
        "score_B = score_B + source",
        "score_B = 0 * score_B + source",
        MANY,
    ),
    Mutation(
        "model-weighed-as-the-function",
        "in the short form the weight of the function is the model's too",
        ASKED,
        "model=reward_model, weight=reward.model_weight",
        "model=reward_model, weight=reward.function_weight",
        ASKED_TESTS,
    ),
    Mutation(
        "function-weighed-as-the-model",
        "in the short form the weight of the model is the function's too",
        ASKED,
        "function=reward.function, weight=reward.function_weight",
        "function=reward.function, weight=reward.model_weight",
        ASKED_TESTS,
    ),
    Mutation(
        "short-forms-beside-the-list-are-dropped",
        "reward.function is given beside reward.sources, and silently not used",
        ASKED,
        "        if value is not None:\n",
        "        if value is None:\n",
        ASKED_TESTS,
    ),
    Mutation(
        "figures-of-the-weighted-scores",
        "a source's metric is what it adds to the sum",
        "rlhf/stages/ppo.py",
        "source_figures(self.reward.mix.names, scores.parts_BC)",
        "source_figures(self.reward.mix.names, scores.parts_BC"
        " * scores.parts_BC.new_tensor([s.weight for s in self.reward.mix.sources]))",
        MANY,
    ),
    Mutation(
        "figures-under-the-names-of-others",
        "the metrics of the sources are mixed up",
        EXPERIENCE,
        "for name, part_B in zip(names, parts_CB, strict=True)},",
        "for name, part_B in zip(names[::-1], parts_CB, strict=True)},",
        MANY,
    ),
    Mutation(
        "samples-with-the-parts-of-others",
        "the columns of the samples are mixed up",
        SAMPLES,
        "zip(reward.mix.names, parts, strict=True)",
        "zip(reward.mix.names, parts[::-1], strict=True)",
        TOLD,
    ),
    Mutation(
        "all-models-are-the-first",
        "the role holds one reward model, and asks it for all",
        ROLE,
        "torch.stack([scorer.score(rollout) for scorer in scorers], 1)",
        "torch.stack([scorers[0].score(rollout) for _ in scorers], 1)",
        MANY,
    ),
    Mutation(
        "every-model-reads-the-policys-tokens",
        "a reward model with another tokenizer is given ids that mean other words to it",
        BENCH,
        "fingerprint(own) == fingerprint(policy_tokenizer)",
        "fingerprint(own) != policy_tokenizer",
        MANY,
    ),
    Mutation(
        "value-from-the-last-reward-model",
        "the value role starts from another model than the first",
        PIPELINE,
        "reward_model = mix.models[0]",
        "reward_model = mix.models[-1]",
        MANY,
    ),
    Mutation(
        "ppo-kept-when-a-reward-model-changes",
        "another reward model in the same place finds the policy already done",
        PIPELINE,
        "        *mix.models,\n",
        "        *mix.models[1:],\n",
        AGAIN,
    ),
    Mutation(
        "ppo-kept-when-a-later-reward-model-changes",
        "only the first reward model is watched",
        PIPELINE,
        "        *mix.models,\n",
        "        *mix.models[:1],\n",
        AGAIN,
    ),
    Mutation(
        "files-of-the-first-function-alone",
        "PPO is kept when the file of a second reward function was edited",
        SOURCES,
        "files += source.check(timeout_s, columns)",
        "files = files or source.check(timeout_s, columns)",
        SOURCES_TESTS,
    ),
    Mutation(
        "own-model-left-out-in-silence",
        "a reward model in the run's folder is not used, and nobody is told",
        CHECK,
        "    return next((str(own) for own in near if is_model(own)), None)",
        "    return None",
        ("tests/unit/checks/test_reward.py",),
    ),
    Mutation(
        "reward-models-take-turns-in-the-plan",
        "a plan counts one reward model at a time, where all rest on the device",
        FIT,
        "sum(m.resting for m in models) + max(m.peak - m.resting for m in models)",
        "max(m.peak for m in models)",
        ("tests/unit/planning/test_fit.py",),
    ),
)
