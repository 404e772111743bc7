"""Policy: the language model that writes, imitates (SFT) and improves (PPO).

Axes: B rows, R response tokens, T tokens, N chosen positions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rlhf.algo.losses import policy_loss, sft_loss
from rlhf.algo.minibatch import minibatch_rows
from rlhf.engine.base import TrainableEngine
from rlhf.errors import TrainingError
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout
from rlhf.flow.text import Demonstrations
from rlhf.generation.sampler import Sampling
from rlhf.roles.keeper import Keeper
from rlhf.roles.learner import Learner, LossSum, Update
from rlhf.roles.passes import Settings, map_rows, spread
from rlhf.roles.writer import Writer

FIRST_RATIO_TOLERANCE = {"fp32": 1e-3, "bf16": 0.2}
"""Largest |ratio - 1| at a step's first minibatch that rounding may explain."""


class Policy(Writer):
    """A writer that learns."""

    def __init__(
        self,
        engine: TrainableEngine,
        learner: Learner,
        keeper: Keeper,
        sampling: Sampling,
        settings: Settings,
    ) -> None:
        """Put the parts together."""
        super().__init__(engine, sampling, seed=settings.seed, max_tokens=settings.max_tokens)
        self.learner, self.keeper = learner, keeper
        self._settings, self._config = settings, settings.ppo

    def reference_logprobs(self, rollout: Rollout) -> Tensor:
        """Answer for the reference: the same base weights with the adapters off."""
        assert self.keeper.adapter is not None
        with self.keeper.adapter.off():
            return self.logprobs(rollout)

    def improve(self, experience: Experience, step: int) -> Metrics:
        """Run the PPO epochs on the clipped surrogate (Schulman et al. 2017, eq. 7).

        While the value role warms up, the policy waits.
        """
        if step < self._config.value_warmup_steps:
            return Metrics()
        updates: list[Update] = []
        for epoch in range(self._config.num_epochs):
            key = (self._settings.seed, "minibatches", step, epoch)
            for rows in minibatch_rows(len(experience), self._config.minibatch_size, key):
                updates.append(self._improve_on(experience.select(rows)))
                if len(updates) == 1:
                    self._check_first_ratio(updates[0], step)
        return _policy_metrics(updates)

    def _improve_on(self, minibatch: Experience) -> Update:
        count = float(minibatch.response_lengths_B.sum())
        return self.learner.update(minibatch, minibatch.lengths_B, count, self._surrogate)

    def _surrogate(self, batch: Experience) -> LossSum:
        logprobs_BR, entropy_BR = self._logprobs_and_entropy(batch)
        device = logprobs_BR.device
        mask_BR = batch.response_mask_BR.to(device)
        result = policy_loss(
            logprobs_BR,
            batch.old_logprobs_BR.to(device),
            batch.advantages_BR.to(device),
            mask_BR,
            self._config.clip_range,
        )
        sums = {
            "policy/clipfrac_avg": result.clipped,
            "policy/approxkl_avg": result.approx_kl,
            "policy/log_ratio_clamped": result.num_clamped,
            "policy/entropy_avg": entropy_BR.sum(),
            "val/ratio": result.ratio_sum,
            "val/ratio_square": result.ratio_square_sum,
        }
        peaks = {"val/ratio_max": result.ratio_max, "log_ratio_max": result.log_ratio_max}
        return LossSum(result.loss, sums, peaks)

    def _check_first_ratio(self, update: Update, step: int) -> None:
        error, precision = update.peaks["log_ratio_max"], self._settings.precision
        if error > FIRST_RATIO_TOLERANCE[precision]:
            raise TrainingError(
                f"PPO step {step}: the first minibatch's ratio is off 1 by {error:.2g} (rule: at "
                f"most {FIRST_RATIO_TOLERANCE[precision]} in {precision}); scoring and update see "
                "different models: dropout, another temperature, or weights changed in between"
            )

    def imitate(self, batch: Demonstrations) -> Metrics:
        """Take one SFT step on a whole minibatch that every rank holds."""
        count = float(batch.loss_mask_BT[:, 1:].sum())
        update = self.learner.update(batch, batch.lengths_B, count, self._likelihood)
        return Metrics.of(
            {
                "loss/train": update.loss,
                "grad_norm": update.grad_norm,
                "lr": update.lr,
                "num_tokens": float(batch.lengths_B.sum()),
            }
        )

    def imitation_loss(self, batch: Demonstrations) -> Metrics:
        """Return the SFT loss of this rank's rows as loss/validation, without learning."""

        def row_losses(rows: Demonstrations) -> Tensor:
            logprobs_N, learned_BT = self._learned_logprobs(rows)
            return -spread(logprobs_N, learned_BT).sum(1)

        losses_B = map_rows(self.engine, batch, batch.lengths_B, self.max_tokens, row_losses)
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
        device = self.engine.world.device
        logprobs_N, _ = self.engine(
            tokens_BT.to(device),
            (targets - 1).to(device),
            tokens_BT.flatten()[targets].to(device),
            1.0,
        )
        return logprobs_N, learned_BT

    def save(self, folder: Path) -> None:
        """Write the model as a plain Hugging Face folder."""
        self.keeper.save(folder)

    def save_state(self, folder: Path) -> None:
        """Write weights and moments for a resume."""
        self.learner.save_state(folder)

    def load_state(self, folder: Path) -> None:
        """Take up what `save_state` wrote."""
        self.learner.load_state(folder)


def _policy_metrics(updates: list[Update]) -> Metrics:
    means = Metrics.merge(
        Metrics.of(
            {
                **update.means,
                "val/ratio_var": update.means["val/ratio_square"] - update.means["val/ratio"] ** 2,
                "loss/policy_avg": update.loss,
                "policy/grad_norm": update.grad_norm,
                "lr": update.lr,
            }
        )
        for update in updates
    ).means()
    means.pop("val/ratio_square")
    means["val/ratio_max"] = max(update.peaks["val/ratio_max"] for update in updates)
    means["policy/ratio_first_max_error"] = updates[0].peaks["log_ratio_max"]
    return Metrics.of(means)
