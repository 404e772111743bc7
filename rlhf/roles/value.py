"""Value: predicts, before each response token is generated, the return still to come.

Axes: B rows, R response tokens.
"""

from __future__ import annotations

from torch import Tensor

from rlhf.algo.losses import value_loss
from rlhf.algo.packing import response_targets, unpack
from rlhf.engine.base import TrainableEngine
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout
from rlhf.roles.learner import PADDING_SHARE, Learner, LossSum, Objective
from rlhf.roles.passes import (
    Settings,
    map_rows,
    minibatches,
    packed_rows,
)
from rlhf.roles.remote import LEARN, SCORE, remote
from rlhf.roles.saver import ModelSaver
from rlhf.roles.trained import Trained


class Value(Trained):
    """A scalar model that learns the baseline of the advantages."""

    def __init__(
        self, engine: TrainableEngine, learner: Learner, saver: ModelSaver, settings: Settings
    ) -> None:
        """Keep the engine of a ScalarModel, and what it needs to learn and to be saved."""
        self.engine, self.learner, self.saver = engine, learner, saver
        self._settings, self._config = settings, settings.ppo

    @remote(SCORE)
    def values(self, rollout: Rollout) -> Tensor:
        """Return values_BR, float32, of this rank's rows; 0 at padding."""
        values_BR = map_rows(
            self.engine, rollout, rollout.lengths_B, self._settings.max_tokens, self._values
        )
        return values_BR.reshape(len(rollout), rollout.sampling_logprobs_BR.shape[1])

    @remote(LEARN)
    def improve(self, experience: Experience, step: int) -> Metrics:
        """Fit the returns over the step's epochs, in the same minibatches as the policy."""
        reports: list[Metrics] = []
        for rows in minibatches(len(experience), step, self._settings):
            reports.append(self._improve_on(experience.select(rows)))
        return Metrics.merge(reports)

    def _improve_on(self, minibatch: Experience) -> Metrics:
        count = float(minibatch.response_lengths_B.sum())
        objective = Objective(
            batch=minibatch, lengths_B=minibatch.lengths_B, count=count, loss_of=self._error
        )
        update = self.learner.update(objective)
        learned = {n: mean for n, mean in update.means.items() if n != PADDING_SHARE}
        return Metrics.of(
            {
                **learned,
                "loss/value_avg": update.loss,
                "value/grad_norm": update.grad_norm,
                "value/lr": update.lr,
            }
        )

    def _values(self, batch: Rollout | Experience) -> Tensor:
        device = self.engine.world.device
        rows = packed_rows(self.engine, batch.tokens_BT, batch.lengths_B)
        tokens_SW, positions_N, _ = response_targets(batch, rows)
        position_ids_SW = rows.to(device).position_ids_SW
        values_N = self.engine(tokens_SW.to(device), positions_N.to(device), position_ids_SW)
        return unpack(values_N, batch.response_mask_BR)

    def _error(self, batch: Experience) -> LossSum:
        values_BR = self._values(batch)
        device = values_BR.device
        result = value_loss(
            values_BR,
            batch.old_values_BR.to(device),
            batch.returns_BR.to(device),
            batch.response_mask_BR.to(device),
            self._config.value_clip_range,
        )
        return LossSum(result.loss, {"value/clipfrac_avg": result.clipped})
