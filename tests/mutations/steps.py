"""Mutations of what a step is made of: which rows, which positions, which rate, which draw."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MINIBATCH = "rlhf/algo/minibatch.py"
SCHEDULE = "rlhf/algo/schedule.py"
DIAGNOSTICS = "rlhf/algo/diagnostics.py"
SEEDING = "rlhf/algo/seeding.py"
ROLLOUT = "rlhf/flow/rollout.py"

MINIBATCH_TESTS = ("tests/unit/algo/test_minibatch.py",)
SCHEDULE_TESTS = ("tests/unit/algo/test_schedule.py",)
ROLLOUT_TESTS = ("tests/unit/flow/test_rollout.py",)

MUTATIONS = (
    Mutation(
        "one-shuffle-for-all-epochs",
        "every epoch takes the minibatches of the first",
        MINIBATCH,
        "derive_seed(*seed_key)",
        "derive_seed(*seed_key[:-1])",
        MINIBATCH_TESTS,
    ),
    Mutation(
        "no-shuffle",
        "minibatches are taken in the order of the rollout",
        MINIBATCH,
        "torch.split(keys.argsort(stable=True), minibatch_size)",
        "torch.split(torch.arange(num_rows), minibatch_size)",
        MINIBATCH_TESTS,
    ),
    Mutation(
        "last-minibatch-dropped",
        "rows that do not fill a minibatch are never learned from",
        MINIBATCH,
        "return list(torch.split(keys.argsort(stable=True), minibatch_size))",
        "return list(torch.split(keys.argsort(stable=True), minibatch_size))[: -1 or None]",
        MINIBATCH_TESTS,
    ),
    Mutation(
        "microbatches-by-the-shortest-row",
        "padding is not counted, so a pass takes more memory than was allowed",
        MINIBATCH,
        "max_tokens // lengths[order[start]]",
        "max_tokens // lengths[order[-1]]",
        MINIBATCH_TESTS,
    ),
    Mutation(
        "warm-up-off-by-one",
        "the first step learns nothing and the last of the warm-up misses the peak",
        SCHEDULE,
        "lr * (step + 1) / warmup_steps",
        "lr * step / warmup_steps",
        SCHEDULE_TESTS,
    ),
    Mutation(
        "decay-off-by-one",
        "the last step learns nothing",
        SCHEDULE,
        "max(1, total_steps - warmup_steps)",
        "max(1, total_steps - 1 - warmup_steps)",
        SCHEDULE_TESTS,
    ),
    Mutation(
        "explained-variance-inverted",
        "a perfect value role reads as useless",
        DIAGNOSTICS,
        "return 1.0 - left.item() / total.item()",
        "return left.item() / total.item()",
        ("tests/unit/algo/test_diagnostics.py",),
    ),
    Mutation(
        "explained-variance-upside-down",
        "the variances have changed places",
        DIAGNOSTICS,
        "1.0 - left.item() / total.item()",
        "1.0 - total.item() / max(left.item(), 1e-12)",
        ("tests/unit/algo/test_diagnostics.py",),
    ),
    Mutation(
        "position-has-no-part-in-the-draw",
        "every token of a response is drawn with the same number",
        SEEDING,
        "stream ^ _mix((position + 1) * _GOLDEN)",
        "stream ^ _mix(0 * position + _GOLDEN)",
        ("tests/unit/algo/test_seeding.py",),
    ),
    Mutation(
        "eos-is-a-pad",
        "pad and EOS are one id, so the mask leaves the EOS of a response out",
        ROLLOUT,
        "length_mask(self.response_lengths_B, self.sampling_logprobs_BR.shape[1])",
        "length_mask(self.response_lengths_B - 1, self.sampling_logprobs_BR.shape[1])",
        (*ROLLOUT_TESTS, "tests/unit/roles/test_passes.py", "tests/unit/stages/test_experience.py"),
    ),
    Mutation(
        "eos-is-not-learned-by-ppo",
        "the update's mask leaves the EOS of a response out",
        ROLLOUT,
        "length_mask(self.response_lengths_B, self.old_logprobs_BR.shape[1])",
        "length_mask(self.response_lengths_B - 1, self.old_logprobs_BR.shape[1])",
        (*ROLLOUT_TESTS, "tests/unit/roles/test_policy.py"),
    ),
    Mutation(
        "logits-read-one-token-late",
        "the logits at a token are taken for those that chose it",
        ROLLOUT,
        "prompt_lengths_B[:, None] - 1 + offsets_R",
        "prompt_lengths_B[:, None] - 0 + offsets_R",
        (*ROLLOUT_TESTS, "tests/unit/roles/test_passes.py"),
    ),
    Mutation(
        "answers-out-of-order",
        "responses come back in the order in which they ended",
        ROLLOUT,
        "found.select(found.rows_B.argsort())",
        "found.select(found.rows_B.argsort() * 0 + torch.arange(len(found)))",
        ("tests/unit/generation/test_padded.py",),
    ),
)
