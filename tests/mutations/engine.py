"""Mutations of rlhf/engine: what an optimizer step does, on one rank and on two."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

ADAMW = "rlhf/engine/adamw.py"
LOCAL = "rlhf/engine/local.py"
ZERO = "rlhf/engine/zero.py"
ZERO_STATE = "rlhf/engine/zero_state.py"
ZERO_CONFIG = "rlhf/engine/zero_config.py"

LOCAL_TESTS = ("tests/unit/engine/test_local.py",)
ENGINES = "tests/contract/test_engines.py"
CLIP = f"{ENGINES}::test_the_norm_is_the_one_before_clipping_and_the_clip_is_global"

MUTATIONS = (
    Mutation(
        "adam-eps-by-default",
        "the eps asked for never reaches AdamW",
        ADAMW,
        "eps=config.eps",
        "eps=1e-8 + 0.0 * config.eps",
        ("tests/unit/engine/test_adamw.py",),
    ),
    Mutation(
        "weight-decay-by-default",
        "the weight decay asked for never reaches AdamW",
        ADAMW,
        "weight_decay=config.weight_decay",
        "weight_decay=0.01 + 0.0 * config.weight_decay",
        ("tests/unit/engine/test_adamw.py",),
    ),
    Mutation(
        "no-gradient-clip",
        "the norm is told but not held",
        LOCAL,
        "nn.utils.clip_grad_norm_(self._parameters.values(), self._max_norm)",
        'nn.utils.clip_grad_norm_(self._parameters.values(), float("inf"))',
        (f"{CLIP}[here-None]",),
    ),
    Mutation(
        "gradients-kept-for-the-next-step",
        "gradients are not cleared after an update",
        LOCAL,
        "        self._optimizer.step()\n        self._optimizer.zero_grad()\n",
        "        self._optimizer.step()\n",
        (*LOCAL_TESTS, "tests/unit/roles/test_learner.py"),
    ),
    Mutation(
        "rate-set-after-the-step",
        "each update uses the rate of the one before",
        LOCAL,
        '        for group in self._optimizer.param_groups:\n            group["lr"] = lr\n'
        "        self._optimizer.step()\n",
        "        self._optimizer.step()\n        for group in self._optimizer.param_groups:\n"
        '            group["lr"] = lr\n',
        LOCAL_TESTS,
    ),
    Mutation(
        "moments-lost-on-resume",
        "Adam starts anew after a resume",
        LOCAL,
        "                if moments:\n",
        "                if len(moments) > 99:\n",
        ("tests/unit/roles/test_learner.py",),
    ),
    Mutation(
        "gradients-averaged-over-ranks",
        "a loss divided by the global count is divided by the number of ranks once more",
        ZERO,
        "self._engine.backward(loss * self.world.size)",
        "self._engine.backward(loss * 1.0)",
        (f"{ENGINES}::test_three_updates_are_the_same_everywhere[two-2]",),
    ),
    Mutation(
        "no-gradient-clip-in-shards",
        "DeepSpeed is told not to clip",
        ZERO,
        "max_grad_norm=self._max_norm if self.stage else 0.0",
        "max_grad_norm=0.0 * self._max_norm",
        (f"{CLIP}[two-2]",),
    ),
    Mutation(
        "no-gradient-clip-in-replicas",
        "at stage 0, where every rank clips for itself, none does",
        ZERO,
        "if adamw is not None and self.stage == 0:",
        "if adamw is not None and self.stage == 0 and world.rank < 0:",
        (f"{CLIP}[two-0]",),
    ),
    Mutation(
        "master-weights-alone-restored",
        "the forward after a resume runs the weights from before it",
        ZERO_STATE,
        "            self._write_module(parameter, value)\n",
        "            value = value.clone()\n",
        (f"{ENGINES}::test_state_moves_between_stages_and_numbers_of_ranks",),
    ),
    Mutation(
        "update-count-lost-on-resume",
        "Adam's bias correction starts anew",
        ZERO_STATE,
        'self.count(float(state[f"step/{self._names[0]}"]))',
        "self.count(0.0)",
        (f"{ENGINES}::test_state_moves_between_stages_and_numbers_of_ranks",),
    ),
    Mutation(
        "gradients-added-up-in-bf16",
        "small gradients vanish in the sum",
        ZERO_CONFIG,
        '{"grad_accum_dtype": "fp32"}',
        '{"grad_accum_dtype": "bf16"}',
        ("tests/unit/engine/test_zero_config.py",),
    ),
    Mutation(
        "offload-forgotten",
        "the optimizer stays on the device",
        ZERO,
        "offload=row.offload",
        'offload="none"',
        (
            "tests/contract/test_engines.py::test_offload_moves_the_optimizer_and_changes_no_update"
            "[one-1-optimizer]",
        ),
    ),
    Mutation(
        "host-memory-not-locked",
        "copies from a GPU wait for each other",
        ZERO_CONFIG,
        '"pin_memory": holding.device == "cuda"',
        '"pin_memory": holding.device == "gpu"',
        ("tests/unit/engine/test_zero_config.py",),
    ),
    Mutation(
        "raw-section-replaces-ours",
        "one raw key of zero_optimization throws the stage away",
        ZERO_CONFIG,
        "if isinstance(value, Mapping) and isinstance(below, Mapping):",
        "if isinstance(value, Mapping) and below is value:",
        ("tests/unit/engine/test_zero_config.py",),
    ),
)
