"""OutputBuffer: the responses generated so far, row by row, and which of them have ended.

Axes: B rows of the whole batch, N some of them, R response slots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.rollout import RolloutChunk
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampling import Sampling


class OutputBuffer:
    """The tokens generated so far, on the device, and which rows have ended, on the CPU."""

    def __init__(self, num_rows: int, how: Sampling, device: torch.device) -> None:
        """Allocate empty responses of at most max_new_tokens tokens."""
        slots = (num_rows, how.max_new_tokens)
        self.tokens_BR = torch.zeros(slots, dtype=torch.long, device=device)
        self.logprobs_BR = torch.zeros(slots, dtype=torch.float32, device=device)
        self.lengths_B = torch.full((num_rows,), how.max_new_tokens)
        self.finished_B = torch.zeros(num_rows, dtype=torch.bool)
        self.has_ended_B = torch.zeros(num_rows, dtype=torch.bool)
        self._taken_B = torch.zeros(num_rows, dtype=torch.bool)
        self._stops = torch.tensor(how.stop_ids, dtype=torch.long, device=device)
        self._longest = how.max_new_tokens

    def note(
        self, rows_N: Tensor, positions_N: Tensor, tokens_N: Tensor, logprobs_N: Tensor
    ) -> None:
        """Store one token at a position of each of some rows; mark the rows that end with it."""
        device = tokens_N.device
        where = (rows_N.to(device), positions_N.to(device))
        self.tokens_BR[where] = tokens_N
        self.logprobs_BR[where] = logprobs_N
        stopped_N = torch.isin(tokens_N, self._stops).cpu()
        self.lengths_B[rows_N[stopped_N]] = positions_N[stopped_N] + 1
        self.finished_B[rows_N] = stopped_N
        self.has_ended_B[rows_N] = stopped_N | (positions_N + 1 == self._longest)

    @property
    def is_done(self) -> bool:
        """Whether every row has ended."""
        return bool(self.has_ended_B.all())

    @property
    def num_to_take(self) -> int:
        """Rows that have ended and were not taken yet."""
        return int((self.has_ended_B & ~self._taken_B).sum())

    def take(self, prompts: PromptBatch) -> RolloutChunk:
        """Return the rows that have ended since the last call, in their order.

        Args:
            prompts: The prompts of the whole batch.
        """
        rows_N = (self.has_ended_B & ~self._taken_B).nonzero().squeeze(-1)
        self._taken_B[rows_N] = True
        asked, lengths_N = prompts.select(rows_N), self.lengths_B[rows_N]
        width, prompt_width = int(lengths_N.max()), prompts.tokens_BP.shape[1]
        tokens_NR, logprobs_NR = (
            written_BR[rows_N.to(written_BR.device), :width].cpu()
            for written_BR in (self.tokens_BR, self.logprobs_BR)
        )
        tokens_NT = torch.zeros(len(asked), prompt_width + width, dtype=torch.long)
        tokens_NT[:, :prompt_width] = asked.tokens_BP
        columns_NR = asked.lengths_B[:, None] + torch.arange(width)
        tokens_NT.scatter_(1, columns_NR, tokens_NR * length_mask(lengths_N, width))
        return RolloutChunk(
            tokens_BT=tokens_NT,
            prompt_lengths_B=asked.lengths_B,
            response_lengths_B=lengths_N,
            finished_B=self.finished_B[rows_N],
            sampling_logprobs_BR=logprobs_NR,
            prompts=asked.prompts,
            columns=asked.columns,
            rows_B=rows_N,
        )
