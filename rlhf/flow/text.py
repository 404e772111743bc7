"""What the stages read: demonstrations, rankings and prompts, tokenized.

Axes: B rows, T tokens of the whole text (right-padded), P prompt tokens, K ranked answers.
Every mask is made from a length or a stored loss mask, never from token ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from rlhf.flow.tensors import TensorBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Demonstrations(TensorBatch):
    """Texts to imitate (SFT), right-padded."""

    tokens_BT: Tensor
    """Token ids, int64; zeros after the length."""
    lengths_B: Tensor
    """Real tokens a row, int64."""
    loss_mask_BT: Tensor
    """Bool; true where the token is to be learned (the answer and its EOS)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rankings(TensorBatch):
    """K answers to one prompt, best first (reward model). A preference pair is K = 2."""

    tokens_BKT: Tensor
    """Token ids of prompt + answer, int64, right-padded."""
    lengths_BK: Tensor
    """Real tokens an answer, int64; 0 where a row has fewer than K answers."""
    margin_B: Tensor
    """Float32; how much better the first is than the second by the labeller (0 if not said)."""

    @property
    def lengths_B(self) -> Tensor:
        """Real tokens a row, all its answers together, int64."""
        return self.lengths_BK.sum(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptBatch(TensorBatch):
    """Prompts to answer (PPO), right-padded, with what a reward function may want to see."""

    tokens_BP: Tensor
    """Token ids, int64, right-padded with zeros."""
    lengths_B: Tensor
    """Real tokens a prompt, int64, at least 1."""
    sample_B: Tensor
    """Global sample index, int64: (how many prompts were drawn before) * n + which sample.
    Seeds the sampler, so a response does not depend on its batch neighbours or its rank."""
    prompts: tuple[object, ...]
    """The prompt as the user wrote it: a string, or a list of {"role", "content"} messages."""
    columns: tuple[Mapping[str, object], ...]
    """The other columns of the row, a dict[str, object] a row; go to reward functions."""
