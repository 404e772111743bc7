"""Mutations of rlhf/models: what a network answers."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

LANGUAGE_MODEL = "rlhf/models/language_model.py"
SCALAR_MODEL = "rlhf/models/scalar_model.py"
PRETRAINED = "rlhf/models/pretrained.py"
ADAPTERS = "rlhf/models/adapters.py"
RECOMPUTATION = "rlhf/models/recomputation.py"

LANGUAGE_MODEL_TESTS = ("tests/unit/models/test_language_model.py",)
SCALAR_MODEL_TESTS = ("tests/unit/models/test_scalar_model.py",)
PRETRAINED_TESTS = ("tests/unit/models/test_pretrained.py",)

MUTATIONS = (
    Mutation(
        "temperature-not-applied-when-scoring",
        "the split head takes log-probabilities at temperature 1",
        LANGUAGE_MODEL,
        "token_logprobs(hidden_NH, self._logits, targets_N, temperature, LOGIT_CHUNK)",
        "token_logprobs(hidden_NH, self._logits, targets_N, 1.0, LOGIT_CHUNK)",
        LANGUAGE_MODEL_TESTS,
    ),
    Mutation(
        "temperature-not-applied-by-whole-heads",
        "models that scale their logits are scored at temperature 1",
        LANGUAGE_MODEL,
        "logprobs_of(chosen_NV, targets_N, temperature)",
        "logprobs_of(chosen_NV, targets_N, 1.0)",
        LANGUAGE_MODEL_TESTS,
    ),
    Mutation(
        "head-split-off-blindly",
        "models that scale or cap their logits are scored without it",
        LANGUAGE_MODEL,
        "same = head is not None and bool(torch.equal(head(hidden), whole))",
        "same = head is not None and hidden.shape[:2] == whole.shape[:2]",
        LANGUAGE_MODEL_TESTS,
    ),
    Mutation(
        "reward-bias-lost-on-reload",
        "the mean of the scores is not written down",
        SCALAR_MODEL,
        "update({SCORE_MEAN: self.score_mean, SCORE_STD: self.score_std})",
        "update({SCORE_STD: self.score_std})",
        SCALAR_MODEL_TESTS,
    ),
    Mutation(
        "reward-scale-lost-on-reload",
        "the deviation of the scores is not written down",
        SCALAR_MODEL,
        "update({SCORE_MEAN: self.score_mean, SCORE_STD: self.score_std})",
        "update({SCORE_MEAN: self.score_mean})",
        SCALAR_MODEL_TESTS,
    ),
    Mutation(
        "reward-normalised-twice-wrongly",
        "a second normalisation forgets that scores were scaled by the first",
        SCALAR_MODEL,
        "self.score_mean += mean * self.score_std",
        "self.score_mean += mean",
        SCALAR_MODEL_TESTS,
    ),
    Mutation(
        "reward-scaled-before-it-is-shifted",
        "the mean is taken off the scaled score",
        SCALAR_MODEL,
        "(raw_N - self.score_mean) / self.score_std",
        "raw_N / self.score_std - self.score_mean",
        SCALAR_MODEL_TESTS,
    ),
    Mutation(
        "dropout-on",
        "two passes over one text disagree, so the first ratio is not 1",
        PRETRAINED,
        "module.p = 0.0",
        "module.p = module.p * 1.0",
        PRETRAINED_TESTS,
    ),
    Mutation(
        "attention-dropout-on",
        "the dropout inside attention is left as the config has it",
        PRETRAINED,
        "module.attention_dropout = 0.0",
        "module.attention_dropout = 1.0 * module.attention_dropout",
        PRETRAINED_TESTS,
    ),
    Mutation(
        "head-deviation-as-misprinted",
        "1 / (hidden + 1), as the paper prints it, for 1 / sqrt(hidden + 1)",
        PRETRAINED,
        "(weight.shape[1] + 1) ** -0.5",
        "(weight.shape[1] + 1) ** -1.0",
        PRETRAINED_TESTS,
    ),
    Mutation(
        "head-deviation-without-the-one",
        "1 / sqrt(hidden) for 1 / sqrt(hidden + 1): too near for a measured deviation",
        PRETRAINED,
        "(weight.shape[1] + 1) ** -0.5",
        "weight.shape[1] ** -0.5",
        (
            "tests/wiring/test_figures.py::"
            "test_the_reward_model_is_the_plain_programs_and_normalised_on_training_rows",
        ),
    ),
    Mutation(
        "value-starts-with-a-random-head",
        "a zero head is drawn like a new one",
        PRETRAINED,
        'if head == "new" else 0.0',
        'if head in ("new", "zero") else 0.0',
        PRETRAINED_TESTS,
    ),
    Mutation(
        "untrained-head-accepted",
        "a language model serves as reward model with a head of noise",
        PRETRAINED,
        'new_head=head != "trained",',
        "new_head=True,",
        PRETRAINED_TESTS,
    ),
    Mutation(
        "tensors-left-over-accepted",
        "a folder with names of another model is taken, the rest is noise",
        "rlhf/models/fit.py",
        'unexpected = set(info["unexpected_keys"])',
        "unexpected = set[str]()",
        ("tests/unit/models/test_weights.py", "tests/unit/models/test_fit.py"),
    ),
    Mutation(
        "buffers-not-written",
        "a routed model's correction bias comes out as zeros",
        "rlhf/engine/local.py",
        "**kept_buffers(self.module)}",
        "}",
        ("tests/unit/roles/test_saver.py",),
    ),
    Mutation(
        "folder-not-proved",
        "a folder that is another model is published",
        "rlhf/models/proof.py",
        "if not apart <= allowed:",
        "if apart < 0:",
        ("tests/unit/models/test_proof.py",),
    ),
    Mutation(
        "pad-that-is-eos-saved",
        "transformers pools one token early",
        "rlhf/models/pads.py",
        "if token not in ends)",
        "if token)",
        ("tests/unit/models/test_pads.py",),
    ),
    Mutation(
        "end-tokens-of-the-model-ignored",
        "only the tokenizer's EOS ends a response",
        "rlhf/models/stops.py",
        "*(_named(found) if found else ())",
        "*(() if found else ())",
        ("tests/unit/models/test_stops.py",),
    ),
    Mutation(
        "reference-with-adapters-on",
        "the reference is the policy itself, so the KL is always 0",
        ADAPTERS,
        "return self._peft.disable_adapter()",
        "return torch.enable_grad()",
        ("tests/unit/models/test_adapters.py",),
    ),
    Mutation(
        "adapters-not-merged",
        "the model that is written has learned nothing",
        ADAPTERS,
        "self._copy(network, weights).merge_and_unload()",
        "self._copy(network, weights).unload()",
        ("tests/unit/models/test_adapters.py",),
    ),
    Mutation(
        "checkpointing-switched-on-in-vain",
        "blocks in evaluation mode keep everything, whatever was asked for",
        RECOMPUTATION,
        "block.training = torch.is_grad_enabled()",
        "block.training = torch.is_inference_mode_enabled()",
        ("tests/unit/models/test_recomputation.py",),
    ),
    Mutation(
        "checkpointing-takes-the-cache",
        "a sampler that comes after an update finds no cache",
        RECOMPUTATION,
        "block.training = False",
        "block.training = True",
        ("tests/unit/models/test_recomputation.py",),
    ),
)
