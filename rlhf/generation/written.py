"""Written: the responses so far, row by row, and which of them have ended.

Axes: B rows of the whole batch, N some of them, R response slots.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampling import Sampling


class Written:
    """What a sampler has written; it is noted on the device, and which rows ended on the CPU."""

    def __init__(self, num_rows: int, how: Sampling, device: torch.device) -> None:
        """Begin with empty responses."""
        slots = (num_rows, how.max_new_tokens)
        self.tokens_BR = torch.zeros(slots, dtype=torch.long, device=device)
        self.logprobs_BR = torch.zeros(slots, dtype=torch.float32, device=device)
        self.lengths_B = torch.full((num_rows,), how.max_new_tokens)
        self.finished_B = torch.zeros(num_rows, dtype=torch.bool)
        self.has_ended_B = torch.zeros(num_rows, dtype=torch.bool)
        self._stops = torch.tensor(how.stop_ids, dtype=torch.long, device=device)
        self._longest = how.max_new_tokens

    def note(
        self, rows_N: Tensor, positions_N: Tensor, tokens_N: Tensor, logprobs_N: Tensor
    ) -> None:
        """Put one token at a position of each of some rows; see which of them end with it."""
        device = tokens_N.device
        where = (rows_N.to(device), positions_N.to(device))
        self.tokens_BR[where] = tokens_N
        self.logprobs_BR[where] = logprobs_N
        stopped_N = torch.isin(tokens_N, self._stops).cpu()
        self.lengths_B[rows_N[stopped_N]] = positions_N[stopped_N] + 1
        self.finished_B[rows_N] = stopped_N
        self.has_ended_B[rows_N] = stopped_N | (positions_N + 1 == self._longest)

    def rollout(self, prompts: PromptBatch) -> Rollout:
        """Return prompts and responses as one record."""
        width = max(self.lengths_B.tolist(), default=0)
        written_BR = length_mask(self.lengths_B, width)
        prompt_width = prompts.tokens_BP.shape[1]
        tokens_BT = torch.zeros(len(prompts), prompt_width + width, dtype=torch.long)
        tokens_BT[:, :prompt_width] = prompts.tokens_BP
        columns_BR = prompts.lengths_B[:, None] + torch.arange(width)
        tokens_BT.scatter_(1, columns_BR, self.tokens_BR[:, :width].cpu() * written_BR)
        return Rollout(
            tokens_BT=tokens_BT,
            prompt_lengths_B=prompts.lengths_B,
            response_lengths_B=self.lengths_B,
            finished_B=self.finished_B,
            sampling_logprobs_BR=self.logprobs_BR[:, :width].cpu(),
            prompts=prompts.prompts,
            columns=prompts.columns,
        )
