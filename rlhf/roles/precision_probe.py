"""PrecisionProbe: how much a language model in bf16 differs from fp32, on texts of the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rlhf.engine.memory import SHARE, free_bytes
from rlhf.engine.precision import why_fp32
from rlhf.engine.world import World
from rlhf.flow.rollout import Rollout
from rlhf.flow.text import PromptBatch
from rlhf.generation.trial import gap, whole_logprobs
from rlhf.models.language_model import LanguageModel
from rlhf.roles.first_ratio import pretended
from rlhf.roles.remote import Remote, remote

MOST_K3 = 5e-3
"""Nats a token: log-ratios of about 0.1, half of what clipping allows; SmolLM2-135M has 5e-4."""
FP32 = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """The precision that `auto` means for a model, and why."""

    precision: str
    """fp32 or bf16."""
    why: str
    measured: bool
    """Whether the model was run; if not, size and device decided, and each model has its own."""


class PrecisionProbe:
    """Loads a model in both precisions, on the first rank, and compares their results."""

    def __init__(
        self, load: Callable[[str], LanguageModel], num_weights: int, world: World
    ) -> None:
        """Keep how to load the model; nothing is loaded yet.

        Args:
            load: Returns the model in `fp32` or `bf16`, on the rank's device.
            num_weights: Weights of the model.
            world: Ranks of the role that the model is loaded for.
        """
        self._load, self._num_weights, self._world = load, num_weights, world

    @remote(Remote())
    def measure(self, texts: PromptBatch) -> Verdict:
        """Return the precision that `auto` means for the model; only the first rank runs it.

        Args:
            texts: Some texts of the run; all their tokens but the first are scored.
        """
        plainly = why_fp32(self._num_weights, self._world.device)
        if plainly is not None:
            return Verdict("fp32", plainly, measured=False)
        rows = pretended(texts, share=1.0)
        if self._world.rank or rows is None:
            return Verdict("bf16", "not measured: no text of two tokens", measured=False)
        return self._without_room() or self._measured(rows)

    def _without_room(self) -> Verdict | None:
        needed, free = FP32 * self._num_weights, free_bytes(self._world.device)
        if needed <= SHARE * free:
            return None
        why = (
            f"not measured: in fp32 the model takes {needed / 2**30:.1f} GiB, "
            f"{free / 2**30:.1f} GiB are free"
        )
        return Verdict("bf16", why, measured=False)

    def _measured(self, rows: Rollout) -> Verdict:
        mask_BR = rows.response_mask_BR
        exact_BR, rounded_BR = (self._logprobs(dtype, rows) for dtype in ("fp32", "bf16"))
        found = gap(rounded_BR, exact_BR, mask_BR)
        seen = (
            f"{found.k3:.1e} nats a token (k3) off fp32 on {int(mask_BR.sum())} tokens of the run "
            f"(rule: at most {MOST_K3:g})"
        )
        if found.k3 <= MOST_K3:
            return Verdict("bf16", f"it is {seen}", measured=True)
        return Verdict("fp32", f"in bf16 the model is {seen}", measured=True)

    def _logprobs(self, precision: str, rows: Rollout) -> Tensor:
        return whole_logprobs(self._load(precision), rows, 1.0)
