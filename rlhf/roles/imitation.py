"""Imitation: the loss of a language model on texts, for SFT and for PPO's PTX term.

Axes: B rows, T tokens, N chosen positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.losses import sft_loss
from rlhf.algo.packing import unpack
from rlhf.engine.base import Engine
from rlhf.flow.metrics import Metrics
from rlhf.flow.text import Demonstrations
from rlhf.roles.learner import LossSum, Objective
from rlhf.roles.passes import map_rows, packed_rows


class Imitation:
    """Next-token loss on the tokens to learn, at temperature 1."""

    def __init__(self, engine: Engine, max_tokens: int) -> None:
        """Use this engine, with at most max_tokens tokens a forward pass."""
        self._engine, self._max_tokens = engine, max_tokens

    def objective(self, texts: Demonstrations, coef: float = 1.0) -> Objective[Demonstrations]:
        """Return the mean negative log-likelihood of the tokens to learn."""
        return Objective(
            batch=texts,
            lengths_B=texts.lengths_B,
            count=float(texts.loss_mask_BT[:, 1:].sum()),
            loss_of=self._likelihood,
            coef=coef,
        )

    def loss(self, batch: Demonstrations) -> Metrics:
        """Return the SFT loss of this rank's rows as loss/validation, without learning."""

        def row_losses(rows: Demonstrations) -> Tensor:
            logprobs_N, learned_BT = self._learned_logprobs(rows)
            return -unpack(logprobs_N, learned_BT).sum(1)

        losses_B = map_rows(self._engine, batch, batch.lengths_B, self._max_tokens, row_losses)
        count = float(batch.loss_mask_BT[:, 1:].sum())
        return Metrics.sums({"loss/validation": float(losses_B.sum())}, count)

    def _likelihood(self, batch: Demonstrations) -> LossSum:
        logprobs_N, _ = self._learned_logprobs(batch)
        return LossSum(sft_loss(logprobs_N, torch.ones_like(logprobs_N, dtype=torch.bool)))

    def _learned_logprobs(self, batch: Demonstrations) -> tuple[Tensor, Tensor]:
        """Return logprobs_N of the tokens to learn, at temperature 1, and their places in BT."""
        learned_BT = batch.loss_mask_BT[:, : int(batch.lengths_B.max())].clone()
        learned_BT[:, 0] = False
        rows = packed_rows(self._engine, batch.tokens_BT, batch.lengths_B)
        rows_N, columns_N = learned_BT.nonzero(as_tuple=True)
        places_N = rows.starts_B[rows_N] + columns_N
        targets_N = batch.tokens_BT[rows_N, columns_N]
        device = self._engine.world.device
        rows = rows.to(device)
        logprobs_N, _ = self._engine(
            rows.tokens_SW,
            (places_N - 1).to(device),
            targets_N.to(device),
            1.0,
            rows.position_ids_SW,
        )
        return logprobs_N, learned_BT
