"""Mutations of rlhf/generation and rlhf/models: what is drawn, and what a network answers."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

SAMPLER = "rlhf/generation/sampler.py"
LANGUAGE_MODEL = "rlhf/models/language_model.py"
SCALAR_MODEL = "rlhf/models/scalar_model.py"
PRETRAINED = "rlhf/models/pretrained.py"
ADAPTERS = "rlhf/models/adapters.py"

SAMPLER_TESTS = ("tests/unit/generation/test_sampler.py",)
LANGUAGE_MODEL_TESTS = ("tests/unit/models/test_language_model.py",)
SCALAR_MODEL_TESTS = ("tests/unit/models/test_scalar_model.py",)
PRETRAINED_TESTS = ("tests/unit/models/test_pretrained.py",)

MUTATIONS = (
    Mutation(
        "draws-without-the-sample-index",
        "all answers to one prompt are the same",
        SAMPLER,
        "uniforms(self.seed, self.sample_B, position)",
        "uniforms(self.seed, torch.zeros_like(self.sample_B), position)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "draws-by-the-row-of-the-batch",
        "what is drawn hangs on the neighbours",
        SAMPLER,
        "uniforms(self.seed, self.sample_B, position)",
        "uniforms(self.seed, self.rows_B, position)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "sampling-without-temperature",
        "tokens are drawn at temperature 1",
        SAMPLER,
        "(logits_BV.float() / (temperature or 1.0)).log_softmax(-1)",
        "logits_BV.float().log_softmax(-1)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "sampled-at-tau-but-scored-at-1",
        "the log-probability told is not that of the draw",
        SAMPLER,
        "return chosen_B, logprobs_BV.gather(-1, chosen_B[:, None]).squeeze(-1)",
        "return chosen_B, logits_BV.float().log_softmax(-1).gather(-1, chosen_B[:, None])[:, 0]",
        SAMPLER_TESTS,
    ),
    Mutation(
        "positions-not-shifted-for-left-pads",
        "learned positions count the padding before a prompt",
        SAMPLER,
        "positions_BX = self.next_position_B[:, None] - self.inputs_BX.shape[1] + offsets_X",
        "positions_BX = (self.mask_BT.shape[1] - self.inputs_BX.shape[1] + offsets_X)[None]",
        SAMPLER_TESTS,
    ),
    Mutation(
        "positions-stand-still",
        "every token after the prompt is told the same position",
        SAMPLER,
        "self.next_position_B = self.next_position_B + 1",
        "self.next_position_B = self.next_position_B + 0",
        SAMPLER_TESTS,
    ),
    Mutation(
        "padding-is-attended-to",
        "the attention mask leaves nothing out",
        SAMPLER,
        "attention_mask=self.mask_BT",
        "attention_mask=torch.ones_like(self.mask_BT)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "stale-cache-rows",
        "when a row leaves the batch, the others go on with a neighbour's cache",
        SAMPLER,
        "self.cache.batch_select_indices(open_B)",
        "self.cache.batch_select_indices(torch.arange(len(open_B), device=open_B.device))",
        SAMPLER_TESTS,
    ),
    Mutation(
        "eos-not-counted",
        "a response is cut before its EOS",
        SAMPLER,
        "self.lengths_B[self.rows_B[stopped_B]] = position + 1",
        "self.lengths_B[self.rows_B[stopped_B]] = max(1, position)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "only-the-first-stop-counts",
        "a model with several EOS ids writes on after the others",
        SAMPLER,
        "torch.tensor(how.stop_ids, dtype=torch.long, device=device)",
        "torch.tensor(how.stop_ids[:1], dtype=torch.long, device=device)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "answers-out-of-order",
        "responses come back sorted by the length of their prompts",
        SAMPLER,
        "Rollout.concat(groups).select(order.argsort())",
        "Rollout.concat(groups)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "response-in-the-wrong-columns",
        "responses start after the longest prompt, not after their own",
        SAMPLER,
        "columns_BR = prompts.lengths_B[:, None] + torch.arange(width)",
        "columns_BR = (0 * prompts.lengths_B + prompts.lengths_B.max())[:, None] + "
        "torch.arange(width)",
        SAMPLER_TESTS,
    ),
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
        "logprobs_of(logits_BTV.flatten(0, 1)[positions_N], targets_N, temperature)",
        "logprobs_of(logits_BTV.flatten(0, 1)[positions_N], targets_N, 1.0)",
        LANGUAGE_MODEL_TESTS,
    ),
    Mutation(
        "head-split-off-blindly",
        "models that scale or cap their logits are scored without it",
        LANGUAGE_MODEL,
        "same = head is not None and bool(torch.equal(_apply_head(network, hidden), whole))",
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
        'if head == "trained" and missing:',
        'if head == "trained" and len(missing) > 99:',
        PRETRAINED_TESTS,
    ),
    Mutation(
        "end-tokens-of-the-model-ignored",
        "only the tokenizer's EOS ends a response",
        PRETRAINED,
        "ids.update(own if isinstance(own, list) else [] if own is None else [own])",
        "ids.update([own] if isinstance(own, int) and own in ids else [])",
        PRETRAINED_TESTS,
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
)
