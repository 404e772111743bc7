"""What flows through PPO: PromptBatch -> Rollout (in chunks) -> Scores -> Experience.

Axes: B rows, P prompt tokens, R response slots, T = prompt then response, right-padded.
A response starts where its prompt ends: response token j of row b stands at
tokens_BT[b, prompt_lengths_B[b] + j]. All `_BR` fields count from the response's own start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.flow.tensors import TensorBatch, length_mask


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout(TensorBatch):
    """Prompts with the responses the policy generated."""

    tokens_BT: Tensor
    """Token ids, int64: prompt, response, zeros."""
    prompt_lengths_B: Tensor
    """Prompt tokens a row, int64, at least 1."""
    response_lengths_B: Tensor
    """Response tokens a row including EOS, int64, at least 1."""
    finished_B: Tensor
    """Bool; true where the response ends with an EOS token."""
    sampling_logprobs_BR: Tensor
    """Float32; log-probability of each response token when it was drawn, at the temperature."""
    prompts: tuple[object, ...]
    """The prompt as the user wrote it: a string, or messages."""
    columns: tuple[Mapping[str, object], ...]
    """The other columns of the prompt's row, a dict a row."""

    @property
    def lengths_B(self) -> Tensor:
        """Real tokens a row, int64."""
        return self.prompt_lengths_B + self.response_lengths_B

    @property
    def response_mask_BR(self) -> Tensor:
        """Bool; true at real response tokens, EOS included."""
        return length_mask(self.response_lengths_B, self.sampling_logprobs_BR.shape[1])

    def prompt_tokens(self) -> list[list[int]]:
        """Return the prompt's token ids a row."""
        ends = self.prompt_lengths_B.tolist()
        return [row[:end] for row, end in zip(self.tokens_BT.tolist(), ends, strict=True)]

    def response_tokens(self) -> list[list[int]]:
        """Return the response's token ids a row, EOS included."""
        starts, ends = self.prompt_lengths_B.tolist(), self.lengths_B.tolist()
        rows = self.tokens_BT.tolist()
        return [row[s:e] for row, s, e in zip(rows, starts, ends, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutChunk(Rollout):
    """Some rows of a rollout, ready while others are still being generated."""

    rows_B: Tensor
    """Which rows of the prompts these are, int64."""


def joined(chunks: Iterable[RolloutChunk]) -> RolloutChunk:
    """Return several chunks as one, its rows in the order of the prompts."""
    found = RolloutChunk.concat(list(chunks))
    return found.select(found.rows_B.argsort())


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores(TensorBatch):
    """The four roles' results on a rollout: log-probabilities, values and scores."""

    score_B: Tensor
    """Float32; one number a response: the weighted sum of its parts."""
    parts_BC: Tensor
    """Float32; what each source of the reward said, not weighted."""
    logprobs_BR: Tensor
    """Float32; by the policy's training forward, at the sampling temperature."""
    ref_logprobs_BR: Tensor
    """Float32; by the reference, at the sampling temperature."""
    values_BR: Tensor
    """Float32; the return expected before each response token is generated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Experience(TensorBatch):
    """All an update needs, and nothing else."""

    tokens_BT: Tensor
    """Token ids, int64: prompt, response, zeros."""
    prompt_lengths_B: Tensor
    """Prompt tokens a row, int64."""
    response_lengths_B: Tensor
    """Response tokens a row including EOS, int64."""
    old_logprobs_BR: Tensor
    """Float32; by the policy before this step's update; constant over its epochs."""
    old_values_BR: Tensor
    """Float32; by the value role before this step's update."""
    advantages_BR: Tensor
    """Float32; whitened over all real tokens of the step; 0 at padding."""
    returns_BR: Tensor
    """Float32; targets of the value role; 0 at padding."""

    @property
    def lengths_B(self) -> Tensor:
        """Real tokens a row, int64."""
        return self.prompt_lengths_B + self.response_lengths_B

    @property
    def response_mask_BR(self) -> Tensor:
        """Bool; true at real response tokens, EOS included."""
        return length_mask(self.response_lengths_B, self.old_logprobs_BR.shape[1])


def response_positions(prompt_lengths_B: Tensor, width: int) -> Tensor:
    """Return positions_BR, int64: where in T the logits that chose each response token stand.

    Logits at position p choose the token at p + 1, so slot j reads position prompt_length - 1 + j.
    """
    offsets_R = torch.arange(width, device=prompt_lengths_B.device)
    return prompt_lengths_B[:, None] - 1 + offsets_R
