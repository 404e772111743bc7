"""Rehearsal: what can be known at the start is tried there, before any stage has trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from rlhf.flow.promise import settle
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.stages.cast import Cast
from rlhf.stages.inputs import Inputs

NUM_TEXTS = 8


class Rehearsal:
    """Tries precision, sampler and first ratio on the policy's first weights, once a run."""

    def __init__(self, inputs: Inputs, cast: Cast, note: Callable[[str], None]) -> None:
        """Wait for the first stage that trains."""
        self._inputs, self._cast, self._note = inputs, cast, note
        self._is_settled = False

    def before_training(self, start: Path) -> None:
        """Rehearse, before a stage trains that comes ahead of PPO.

        Args:
            start: Of the policy.

        Raises:
            ModelError, TrainingError: where PPO would fail later.
        """
        if self._is_settled:
            return
        self.settle_precision(start)
        if self._inputs.prompts is not None:
            policy = self._cast.policy(start)
            self._note(f"rehearsal: {settle(policy.rehearse(self.texts()))}")

    def settle_precision(self, start: Path) -> None:
        """Decide on the precision, if that was not done yet."""
        if self._is_settled:
            return
        self._is_settled = True
        if len(self.texts()):
            self._note(f"precision: {self._cast.settle_precision(start, self.texts())}")

    def texts(self) -> PromptBatch:
        """Return some texts of the run: prompts, else demonstrations; none without either."""
        inputs = self._inputs
        if inputs.prompts is not None:
            return _some(inputs.prompts.train)
        if inputs.demonstrations is not None:
            return _as_prompts(inputs.demonstrations.train)
        return _as_prompts(None)


def _some(prompts: PromptBatch) -> PromptBatch:
    """Return prompts of all lengths, the shortest and the longest among them."""
    order = prompts.lengths_B.argsort(stable=True)
    places = torch.linspace(0, max(0, len(order) - 1), min(NUM_TEXTS, len(order)))
    return prompts.select(order[places.long()])


def _as_prompts(rows: Demonstrations | None) -> PromptBatch:
    """Return the first texts whole, as if each were a prompt."""
    tokens_BT = torch.zeros(0, 1, dtype=torch.long) if rows is None else rows.tokens_BT[:NUM_TEXTS]
    num = len(tokens_BT)
    return PromptBatch(
        tokens_BP=tokens_BT,
        lengths_B=torch.zeros(0, dtype=torch.long) if rows is None else rows.lengths_B[:num],
        sample_B=torch.arange(num),
        prompts=("",) * num,
        columns=({},) * num,
    )
