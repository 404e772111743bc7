"""Mutations of rlhf/generation: what is drawn, from which weights, and where it is put."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

CONTINUOUS = "rlhf/generation/continuous.py"
SAMPLING = "rlhf/generation/sampling.py"
SLOTS = "rlhf/generation/slots.py"
STEPS = "rlhf/generation/steps.py"
MASKS = "rlhf/generation/masks.py"
WRITTEN = "rlhf/generation/output_buffer.py"
PADDED = "rlhf/generation/padded.py"
PREPACKED = "rlhf/generation/prepacked.py"
SAMPLER = "rlhf/generation/sampler.py"

SAMPLER_TESTS = ("tests/unit/generation/test_sampler.py",)
CONTINUOUS_TESTS = ("tests/unit/generation/test_continuous.py",)
DRAW_TESTS = ("tests/unit/generation/test_sampling.py",)
STEP_TESTS = ("tests/unit/generation/test_steps.py",)
PADDED_TESTS = ("tests/unit/generation/test_padded.py",)
PREPACKED_TESTS = ("tests/unit/generation/test_prepacked.py",)

MUTATIONS = (
    Mutation(
        "draws-without-the-sample-index",
        "all answers to one prompt are the same",
        CONTINUOUS,
        "sample_N = self.prompts.sample_B[rows_N].to(device)",
        "sample_N = torch.zeros_like(self.prompts.sample_B[rows_N]).to(device)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "draws-by-the-row-of-the-batch",
        "what is drawn hangs on the neighbours",
        CONTINUOUS,
        "sample_N = self.prompts.sample_B[rows_N].to(device)",
        "sample_N = rows_N.to(device)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "draws-without-the-position",
        "every token of a response is drawn by the same number",
        CONTINUOUS,
        "uniforms(self.seed, sample_N, positions_N.to(device))",
        "uniforms(self.seed, sample_N, 0)",
        ("tests/unit/generation/test_padded.py",),
    ),
    Mutation(
        "sampling-without-temperature",
        "tokens are drawn at temperature 1",
        SAMPLING,
        "scaled_BV = scaled_BV / temperature",
        "scaled_BV = scaled_BV / 1.0",
        DRAW_TESTS,
    ),
    Mutation(
        "sampled-at-tau-but-scored-at-1",
        "the log-probability told is not that of the draw",
        SAMPLING,
        "logprobs_B1 = (scaled_BV.gather(-1, chosen_B1) - top_B1).double() - total_B1.log()",
        "logprobs_B1 = logits_BV.double().log_softmax(-1).gather(-1, chosen_B1)",
        DRAW_TESTS,
    ),
    Mutation(
        "last-block-never-hit",
        "the tokens of the last, short block are never drawn",
        SAMPLING,
        "if whole == weight_BV.shape[1]:",
        "if whole:",
        DRAW_TESTS,
    ),
    Mutation(
        "blocks-overlap",
        "what stands before a block is not taken off",
        SAMPLING,
        "threshold_B1 - before_B1, right=True",
        "threshold_B1, right=True",
        DRAW_TESTS,
    ),
    Mutation(
        "positions-stand-still",
        "every token after the prompt is told the same position",
        STEPS,
        "position_ids=columns_N[:, None]",
        "position_ids=0 * columns_N[:, None]",
        CONTINUOUS_TESTS,
    ),
    Mutation(
        "old-columns-are-attended-to",
        "a row sees what the slot's last tenant left behind",
        MASKS,
        'hidden = {"full_attention": behind_NS < 0}',
        'hidden = {"full_attention": behind_NS < -1}',
        SAMPLER_TESTS,
    ),
    Mutation(
        "window-without-an-end",
        "layers with a window see everything",
        MASKS,
        "(behind_NS < 0) | (behind_NS >= self._window)",
        "behind_NS < 0",
        CONTINUOUS_TESTS,
    ),
    Mutation(
        "stale-cache-rows",
        "when a row leaves, the one that takes its slot goes on with its cache",
        SLOTS,
        "memory[target_N, :width] = memory[origin_N, :width]",
        "memory[target_N, :width] = memory[target_N, :width]",
        SAMPLER_TESTS,
    ),
    Mutation(
        "moved-rows-are-cut",
        "the last column of a row that moves stays behind",
        CONTINUOUS,
        "self.cache.width = int(self.lengths_N.max())",
        "self.cache.width = int(self.lengths_N.max()) - 1",
        SAMPLER_TESTS,
    ),
    Mutation(
        "samples-share-the-first-prompt",
        "all slots are filled with the first prompt read",
        SLOTS,
        "memory[cache.slots_N, :width] = kept[cache.source_N]",
        "memory[cache.slots_N, :width] = kept[0 * cache.source_N]",
        SAMPLER_TESTS,
    ),
    Mutation(
        "slots-are-never-refilled",
        "waiting prompts are read when all rows have ended",
        CONTINUOUS,
        "enough = max(1, min(self.num_slots // SHARE_TO_REFILL, len(self.waiting)))",
        "enough = self.num_slots",
        CONTINUOUS_TESTS,
    ),
    Mutation(
        "every-sample-reads-its-prompt",
        "the prompt of n samples is read n times",
        CONTINUOUS,
        "_, first_U, source_N = _unique(self.prompt_of_B[rows_N])",
        "_, first_U, source_N = _unique(rows_N)",
        CONTINUOUS_TESTS,
    ),
    Mutation(
        "rounded-rows-write-over-a-live-one",
        "the rows added to a graph write into the first slot",
        SLOTS,
        "rows_N = torch.arange(len(columns_N), device=columns_N.device)",
        "rows_N = torch.arange(len(columns_N), device=columns_N.device) % 3",
        STEP_TESTS,
    ),
    Mutation(
        "eos-not-counted",
        "a response is cut before its EOS",
        WRITTEN,
        "self.lengths_B[rows_N[stopped_N]] = positions_N[stopped_N] + 1",
        "self.lengths_B[rows_N[stopped_N]] = positions_N[stopped_N].clamp(min=1)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "only-the-first-stop-counts",
        "a model with several EOS ids writes on after the others",
        WRITTEN,
        "torch.tensor(how.stop_ids, dtype=torch.long, device=device)",
        "torch.tensor(how.stop_ids[:1], dtype=torch.long, device=device)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "response-in-the-wrong-columns",
        "responses start after the longest prompt, not after their own",
        WRITTEN,
        "columns_NR = asked.lengths_B[:, None] + torch.arange(width)",
        "columns_NR = (0 * asked.lengths_B + asked.lengths_B.max())[:, None] + torch.arange(width)",
        SAMPLER_TESTS,
    ),
    Mutation(
        "a-folders-own-sampling-is-followed",
        "top-k and penalties of the folder change what is drawn",
        PADDED,
        "own, network.generation_config = network.generation_config, plain",
        "own = network.generation_config",
        PADDED_TESTS,
    ),
    Mutation(
        "a-row-in-two-pieces",
        "a row that has ended is handed out with every later piece too",
        WRITTEN,
        "self._taken_B[rows_N] = True",
        "self._taken_B[rows_N] = False",
        SAMPLER_TESTS,
    ),
    Mutation(
        "pieces-wait-for-the-last-row",
        "nothing is scored while rows are still being written",
        SAMPLER,
        "written.num_to_take >= enough or written.is_done",
        "written.is_done",
        SAMPLER_TESTS,
    ),
    Mutation(
        "arranged-weights-outlive-the-rollout",
        "the next rollout is written with the weights before the update",
        PREPACKED,
        'vars(layer).pop("forward", None)',
        "layer.weight",
        PREPACKED_TESTS,
    ),
    Mutation(
        "arranged-without-the-bias",
        "layers with a bias compute something else while writing",
        PREPACKED,
        "copy, bias_O,",
        "copy, None,",
        PREPACKED_TESTS,
    ),
)
