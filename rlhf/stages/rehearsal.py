"""Rehearsal: checks of PPO on the first weights, before any stage has trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rlhf.flow.text import PromptBatch
from rlhf.roles.ports import PolicyPort
from rlhf.runtime.runtime import Runtime
from rlhf.runtime.specs import PolicySpec
from rlhf.stages.inputs import Inputs

NUM_TEXTS = 16


class Rehearsal:
    """Tries precision, sampler and first ratio on the policy's first weights, once a run."""

    def __init__(self, inputs: Inputs, runtime: Runtime, note: Callable[[str], None]) -> None:
        """Keep what the checks need; they run before the first stage that trains."""
        self._inputs, self._runtime, self._note = inputs, runtime, note
        self._is_settled = False

    def before_training(self, start: Path) -> None:
        """Rehearse, before a stage trains that comes ahead of PPO.

        Args:
            start: Folder of the policy's first weights.

        Raises:
            ModelError, TrainingError: where PPO would fail later.
        """
        if self._is_settled:
            return
        self.settle_precision(start)
        if self._inputs.prompts is not None:
            self.rehearse(self._runtime.assign(PolicySpec(path=start)))

    def rehearse(self, policy: PolicyPort) -> None:
        """Try sampler and first ratio of a policy on some prompts of the run."""
        assert self._inputs.prompts is not None
        prompts = _some(self._inputs.prompts.train)
        self._note(f"generation: {policy.rehearse(prompts).result()}")

    def settle_precision(self, start: Path) -> None:
        """Choose the precision, if that was not done yet."""
        if self._is_settled:
            return
        self._is_settled = True
        texts = self._texts()
        if texts is not None:
            self._note(f"precision: {self._runtime.settle_precision(start, texts)}")

    def _texts(self) -> PromptBatch | None:
        """Return some texts of the run: those that are whole, else prompts."""
        inputs = self._inputs
        if inputs.demonstrations is not None:
            rows = inputs.demonstrations.train
            return _as_prompts(rows.tokens_BT, rows.lengths_B)
        if inputs.prompts is None and inputs.rankings is not None:
            ranked = inputs.rankings.train
            return _as_prompts(ranked.tokens_BKT[:, 0], ranked.lengths_BK[:, 0])
        return None if inputs.prompts is None else _some(inputs.prompts.train)


def _some(prompts: PromptBatch) -> PromptBatch:
    """Return prompts of all lengths, the shortest and the longest among them."""
    order = prompts.lengths_B.argsort(stable=True)
    places = torch.linspace(0, max(0, len(order) - 1), min(NUM_TEXTS, len(order)))
    return prompts.select(order[places.long()])


def _as_prompts(tokens_BT: Tensor, lengths_B: Tensor) -> PromptBatch:
    """Return the first texts, whole, as prompts."""
    num = min(NUM_TEXTS, len(lengths_B))
    return PromptBatch(
        tokens_BP=tokens_BT[:num],
        lengths_B=lengths_B[:num],
        sample_B=torch.arange(num),
        prompts=("",) * num,
        columns=({},) * num,
    )
