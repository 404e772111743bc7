"""Imitation: the loss of a language model on texts, for SFT and for PPO's PTX term.

Axes: B rows, T tokens, N chosen positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.losses import sft_loss
from rlhf.engine.base import Engine
from rlhf.flow.metrics import Metrics
from rlhf.flow.text import Demonstrations
from rlhf.roles.learner import LossSum, Objective
from rlhf.roles.passes import map_rows, spread


class Imitation:
    """Next-token loss on the tokens to learn, at temperature 1."""

    def __init__(self, engine: Engine, max_tokens: int) -> None:
        """Ask this engine, with at most so many padded tokens a forward pass."""
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
            return -spread(logprobs_N, learned_BT).sum(1)

        losses_B = map_rows(self._engine, batch, batch.lengths_B, self._max_tokens, row_losses)
        count = float(batch.loss_mask_BT[:, 1:].sum())
        return Metrics.sums({"loss/validation": float(losses_B.sum())}, count)

    def _likelihood(self, batch: Demonstrations) -> LossSum:
        logprobs_N, _ = self._learned_logprobs(batch)
        return LossSum(sft_loss(logprobs_N, torch.ones_like(logprobs_N, dtype=torch.bool)))

    def _learned_logprobs(self, batch: Demonstrations) -> tuple[Tensor, Tensor]:
        """Return logprobs_N of the tokens to learn, at temperature 1, and their places in BT."""
        tokens_BT = batch.tokens_BT[:, : int(batch.lengths_B.max())]
        learned_BT = batch.loss_mask_BT[:, : tokens_BT.shape[1]].clone()
        learned_BT[:, 0] = False
        targets = learned_BT.flatten().nonzero().squeeze(-1)
        device = self._engine.world.device
        logprobs_N, _ = self._engine(
            tokens_BT.to(device),
            (targets - 1).to(device),
            tokens_BT.flatten()[targets].to(device),
            1.0,
        )
        return logprobs_N, learned_BT
