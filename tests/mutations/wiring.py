"""Mutations of the wiring in cli/ and roles/: a setting that reaches the wrong role, or none."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

CONTEXT, SPECS = "rlhf/runtime/context.py", "rlhf/runtime/specs.py"
PIPELINE, COMMANDS = "rlhf/stages/pipeline.py", "rlhf/commands/evaluate.py"
TRAIN = "rlhf/commands/train.py"
REWARD_ROLE = "rlhf/roles/reward.py"
LEARNER, PASSES = "rlhf/roles/learner.py", "rlhf/roles/passes.py"
POLICY, VALUE = "rlhf/roles/policy.py", "rlhf/roles/value.py"

FIGURES = "tests/wiring/test_figures.py"
STEP = "tests/wiring/test_second_step.py"
SETTING = "tests/wiring/test_settings.py::test_a_setting_changes_what_it_should_and_nothing_else"
PLACES = "tests/wiring/test_places.py"


def step(case: str) -> tuple[str, ...]:
    """Return the tests that replay one case of two PPO steps."""
    names = (
        "test_the_weights_after_the_second_step_are_the_plain_programs",
        "test_every_figure_of_both_steps_is_the_plain_programs",
    )
    return tuple(f"{STEP}::{name}[{case}]" for name in names)


def setting(*names: str) -> tuple[str, ...]:
    """Return the tests that change some settings."""
    return tuple(f"{SETTING}[{name}]" for name in names)


UNUSUAL, LLAMA, LORA = step("unusual"), step("llama"), step("lora")
SFT = (f"{FIGURES}::test_sft_is_the_plain_programs",)
EVALUATION = (
    f"{FIGURES}::test_the_evaluation_is_of_policy_against_sft",
    f"{FIGURES}::test_evaluate_compares_the_folders_named_as_the_settings_say",
)
SAMPLES = (f"{FIGURES}::test_samples_are_the_answers_of_sft_and_policy_with_the_rewards_scores",)
JUDGE = ("tests/unit/commands/test_table.py",)
REWARD = (
    f"{FIGURES}::test_the_reward_model_is_the_plain_programs_and_normalised_on_training_rows",
    f"{FIGURES}::test_its_report_is_of_rows_never_seen_and_of_raw_scores",
)

MUTATIONS = (
    Mutation(
        "sft-learns-as-the-policy-does",
        "SFT gets the optimizer of PPO",
        SPECS,
        "optimizer = context.experiment.sft.optimizer",
        "optimizer = context.experiment.policy.optimizer",
        SFT,
    ),
    Mutation(
        "policy-learns-as-sft-does",
        "PPO gets the optimizer of SFT",
        SPECS,
        "ppo, optimizer = context.experiment.ppo, context.experiment.policy.optimizer",
        "ppo, optimizer = context.experiment.ppo, context.experiment.sft.optimizer",
        LLAMA,
    ),
    Mutation(
        "reward-model-at-the-rate-of-sft",
        "the reward model's schedule is that of SFT",
        SPECS,
        "context.learner(engine, config.optimizer, self.total_updates)",
        "context.learner(engine, context.experiment.sft.optimizer, self.total_updates)",
        REWARD,
    ),
    Mutation(
        "value-warms-up-by-updates-not-steps",
        "the value role's warm-up is counted in updates, the policy's in steps",
        SPECS,
        "context.learner(engine, optimizer, total, ppo.updates_a_step)",
        "context.learner(engine, optimizer, total)",
        UNUSUAL,
    ),
    Mutation(
        "value-learns-as-the-policy-does",
        "the value role gets the policy's optimizer",
        SPECS,
        "ppo, optimizer = context.experiment.ppo, context.experiment.value.optimizer",
        "ppo, optimizer = context.experiment.ppo, context.experiment.policy.optimizer",
        UNUSUAL,
    ),
    Mutation(
        "reference-at-temperature-1",
        "the reference is asked at another temperature than the policy",
        SPECS,
        "temperature = context.experiment.generation.temperature",
        "temperature = 1.0",
        UNUSUAL,
    ),
    Mutation(
        "roles-without-the-runs-seed",
        "responses and minibatches are the same whatever the seed",
        CONTEXT,
        "seed=experiment.seed,",
        "seed=0,",
        UNUSUAL,
    ),
    Mutation(
        "longest-response-is-the-longest-text",
        "a loss that is divided by the longest response takes another setting for it",
        CONTEXT,
        "longest_response=experiment.generation.max_new_tokens",
        "longest_response=experiment.data.max_length",
        step("waits"),
    ),
    Mutation(
        "samples-at-temperature-1",
        "the sampler's temperature is the default",
        CONTEXT,
        "temperature=generation.temperature",
        "temperature=1.0",
        UNUSUAL,
    ),
    Mutation(
        "as-many-slots-as-by-default",
        "the sampler's batch size is read and not used",
        CONTEXT,
        "batch_size=generation.batch_size",
        "batch_size=64",
        (f"{PLACES}::test_a_batch_of_two_takes_more_forwards_than_one_of_eight",),
    ),
    Mutation(
        "backend-always-auto",
        "the padded sampler cannot be asked for",
        CONTEXT,
        "backend=generation.backend",
        'backend="auto"',
        (f"{PLACES}::test_what_says_how_fast_moves_nothing_but_rounding",),
    ),
    Mutation(
        "adapters-without-the-runs-seed",
        "adapters start alike whatever the seed",
        CONTEXT,
        "Adapter(network, peft, seed=seed)",
        "Adapter(network, peft, seed=0)",
        step("lora-some"),
    ),
    Mutation(
        "new-head-without-the-runs-seed",
        "the reward model's head starts alike whatever the seed",
        CONTEXT,
        "self._weights_precision, self.experiment.seed)",
        "self._weights_precision, 0)",
        REWARD,
    ),
    Mutation(
        "schedule-of-one-update",
        "the learner is not told how many updates there will be",
        CONTEXT,
        "total_updates=total_updates,",
        "total_updates=1,",
        UNUSUAL,
    ),
    Mutation(
        "bf16-is-ignored",
        "plain torch computes in fp32 whatever was asked",
        CONTEXT,
        'bf16=config.precision == "bf16"',
        "bf16=False",
        (f"{PLACES}::test_bf16_moves_every_figure_of_a_forward_by_its_rounding",),
    ),
    Mutation(
        "a-folder-held-to-fp32-where-bf16-computed",
        "what bf16 rounds is taken for lost weights, and the model is refused",
        CONTEXT,
        'rounded = self.experiment.engine.precision == "bf16"',
        "rounded = False",
        ("tests/unit/roles/test_saver.py",),
    ),
    Mutation(
        "forwards-of-any-size",
        "what a role computes at a time is the default",
        CONTEXT,
        "max_tokens=self.experiment.engine.max_tokens_per_microbatch,",
        "max_tokens=8192,",
        (f"{PLACES}::test_what_says_how_fast_moves_nothing_but_rounding",),
    ),
    Mutation(
        "every-role-by-the-policys-row",
        "stage and offload of a role are those of the policy",
        CONTEXT,
        "self.experiment.cluster.placement(self.role)",
        'self.experiment.cluster.placement("policy")',
        ("tests/contract/test_wiring.py",),
    ),
    Mutation(
        "schedule-without-the-epochs",
        "the curve ends after the first epoch's worth of updates",
        "rlhf/config/stages.py",
        "return self.num_epochs * (rows // self.minibatch_size)",
        "return rows // self.minibatch_size",
        UNUSUAL,
    ),
    Mutation(
        "schedule-of-one-step",
        "the curve ends with the first step",
        SPECS,
        "total = ppo.num_steps * ppo.updates_a_step\n        return Policy(",
        "total = ppo.updates_a_step\n        return Policy(",
        UNUSUAL,
    ),
    Mutation(
        "schedule-counts-rows",
        "the curve is stretched by the minibatch size",
        "rlhf/config/stages.py",
        "(rows // self.minibatch_size)",
        "rows",
        UNUSUAL,
    ),
    Mutation(
        "schedule-counts-prompts",
        "several samples a prompt are left out of the curve",
        "rlhf/config/stages.py",
        "rows = self.rollout_batch_size * self.samples_per_prompt",
        "rows = self.rollout_batch_size",
        UNUSUAL,
    ),
    Mutation(
        "value-head-always-zero",
        "the value role forgets the head it was given",
        PIPELINE,
        'head="trained" if trained else "zero"',
        'head="zero"',
        LLAMA,
    ),
    Mutation(
        "reward-model-measured-with-a-new-head",
        "the best reward model is loaded with a head of noise",
        PIPELINE,
        'head="trained", finished=True',
        "finished=True",
        REWARD,
    ),
    Mutation(
        "value-schedule-of-one-update",
        "the value role is not told how many updates there will be",
        SPECS,
        "total = ppo.num_steps * ppo.updates_a_step\n        return Value(",
        "total = 1\n        return Value(",
        UNUSUAL,
    ),
    Mutation(
        "win-rate-turned-round",
        "candidate and baseline have changed places",
        COMMANDS,
        "compare(new, old, str(config.judge)",
        "compare(old, new, str(config.judge)",
        EVALUATION,
    ),
    Mutation(
        "a-policy-compared-with-itself",
        "the baseline's answers are the candidate's",
        COMMANDS,
        "SamplerSpec(path=baseline)",
        "SamplerSpec(path=candidate)",
        EVALUATION,
    ),
    Mutation(
        "as-many-judged-as-sampled",
        "the number of judged prompts is another setting's",
        COMMANDS,
        "held_out(run.inputs.prompts, config.num_prompts",
        "held_out(run.inputs.prompts, run.experiment.tracking.sample_prompts",
        EVALUATION,
    ),
    Mutation(
        "one-answer-a-judged-prompt",
        "more samples a prompt are asked for and not taken",
        COMMANDS,
        "samples=config.samples_per_prompt)",
        "samples=1)",
        EVALUATION,
    ),
    Mutation(
        "interval-without-the-runs-seed",
        "the interval is resampled the same whatever the seed",
        COMMANDS,
        "str(config.judge), judge, run.experiment.seed)",
        "str(config.judge), judge, 0)",
        EVALUATION,
    ),
    Mutation(
        "baseline-is-the-policy",
        "evaluate compares RUN/policy with itself",
        COMMANDS,
        "Path(config.baseline or run_dir / SFT.folder)",
        "Path(config.baseline or run_dir / PPO.folder)",
        ("tests/wiring/test_again.py",),
    ),
    Mutation(
        "baseline-of-the-pipeline-is-the-start",
        "the pipeline judges against the weights before SFT",
        TRAIN,
        "compare_policies(run, after, before, judge)",
        "compare_policies(run, after, run_start(run), judge)",
        EVALUATION,
    ),
    Mutation(
        "ppo-from-before-sft",
        "PPO goes on from the start, not from SFT",
        PIPELINE,
        "start, mix, record = made.policy, made.mix, catalog.PPO",
        "start, mix, record = run_start(run), made.mix, catalog.PPO",
        (f"{FIGURES}::test_ppo_after_them_is_the_plain_programs",),
    ),
    Mutation(
        "reward-model-from-before-sft",
        "the reward model's trunk is the start's, not SFT's",
        PIPELINE,
        "base, record = made.policy, catalog.REWARD_MODEL",
        "base, record = run_start(run), catalog.REWARD_MODEL",
        REWARD,
    ),
    Mutation(
        "rate-of-the-next-update",
        "the schedule is one update ahead",
        LEARNER,
        "self.num_updates,\n            lr=config.lr",
        "self.num_updates + 1,\n            lr=config.lr",
        LLAMA,
    ),
    Mutation(
        "minibatches-without-the-runs-seed",
        "rows are shuffled alike whatever the seed",
        PASSES,
        'key = (settings.seed, "minibatches", step, epoch)',
        'key = (0, "minibatches", step, epoch)',
        UNUSUAL,
    ),
    Mutation(
        "every-step-has-the-minibatches-of-the-first",
        "rows are shuffled alike in every step",
        PASSES,
        'key = (settings.seed, "minibatches", step, epoch)',
        'key = (settings.seed, "minibatches", 0 * step, epoch)',
        LLAMA,
    ),
    Mutation(
        "ratio-variance-about-0",
        "policy/ratio_var is the mean square",
        POLICY,
        'update.means["policy/ratio_square"] - update.means["policy/ratio"] ** 2',
        'update.means["policy/ratio_square"] - 0 * update.means["policy/ratio"] ** 2',
        LLAMA,
    ),
    Mutation(
        "largest-ratio-of-the-last-minibatch",
        "a token that ran away earlier in the step is not seen",
        POLICY,
        'max(update.peaks["policy/ratio_max"] for update in updates)',
        'updates[-1].peaks["policy/ratio_max"]',
        LLAMA,
    ),
    Mutation(
        "first-ratio-of-the-last-minibatch",
        "what must be 0 is measured after the policy has learned",
        POLICY,
        'updates[0].peaks["log_ratio_max"]',
        'updates[-1].peaks["log_ratio_max"]',
        LLAMA,
    ),
    Mutation(
        "policy-waits-a-step-too-long",
        "the value role's warm-up lasts one step more",
        POLICY,
        "if step < self._config.value_warmup_steps:",
        "if step <= self._config.value_warmup_steps:",
        LLAMA,
    ),
    Mutation(
        "dual-clip-never-handed-on",
        "the bound for negative advantages is read and not used",
        POLICY,
        "low if high is None else high, settings.ppo.dual_clip)",
        "low if high is None else high, None)",
        UNUSUAL,
    ),
    Mutation(
        "value-clipped-by-the-policys-range",
        "the value's clip takes the ratio's epsilon",
        VALUE,
        "self._config.value_clip_range",
        "self._config.clip_range",
        UNUSUAL,
    ),
    Mutation(
        "value-learns-from-the-first-minibatch-alone",
        "later minibatches are reported and dropped",
        VALUE,
        "experience.select(rows)",
        "experience.select(rows[:1])",
        LLAMA,
    ),
    Mutation(
        "padding-share-among-the-values-figures",
        "the value role's packing is averaged into the policy's",
        VALUE,
        "if n != PADDING_SHARE}",
        'if n != "none"}',
        ("tests/unit/roles/test_value.py", *step("waits")),
    ),
    Mutation(
        "after-shown-as-before",
        "the terminal's table of answers has its two sides exchanged",
        TRAIN,
        "run.log.compare(samples.get((SFT.name, 0), []), last)",
        "run.log.compare(last, samples.get((SFT.name, 0), []))",
        SAMPLES,
    ),
    Mutation(
        "judge-of-evaluate-with-the-default-limit",
        "a judge's time limit is read and not used",
        COMMANDS,
        "load_judge(judge, experiment.reward.timeout_s)",
        "load_judge(judge, 30.0)",
        JUDGE,
    ),
    Mutation(
        "judge-that-was-edited-is-not-asked-again",
        "the judge's file, or one that it imports, has another content",
        COMMANDS,
        "run.fingerprint(PPO, candidate, baseline, *judge.files)",
        "run.fingerprint(PPO, candidate, baseline)",
        (
            "tests/wiring/test_again.py::"
            "test_the_evaluation_alone_is_done_again_when_the_judge_changed",
        ),
    ),
    Mutation(
        "evaluate-in-a-precision-untold",
        "evaluate goes by size alone, and says nothing",
        COMMANDS,
        "    run.rehearsal.settle_precision(candidate)\n",
        "",
        ("tests/wiring/test_again.py::test_every_command_tells_the_precision_and_why[evaluate]",),
    ),
    Mutation(
        "ids-that-are-no-words-are-drawn",
        "rows of the embedding beyond the tokenizer are not passed over",
        CONTEXT,
        "absent_ids=absent_ids(str(path), tokenizer)",
        "absent_ids=()",
        ("tests/unit/runtime/test_specs.py",),
    ),
    Mutation(
        "microbatches-of-the-values-ranks",
        "scoring and update compute other microbatches",
        CONTEXT,
        'cluster.placement("policy").ranks',
        'cluster.placement("value").ranks',
        ("tests/unit/runtime/test_specs.py",),
    ),
)
