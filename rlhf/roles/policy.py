"""Policy: the language model that PPO improves.

Axes: B rows, R response tokens, T tokens, N chosen positions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from rlhf.algo.aggregation import token_weights
from rlhf.algo.losses import Clip, PolicyLoss, policy_loss
from rlhf.engine.base import TrainableEngine
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout
from rlhf.flow.tensors import placed
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.generation.sampling import Sampling
from rlhf.roles.average import AVERAGE_FILE, WeightAverage
from rlhf.roles.first_ratio import K3, as_experience, checked_first_ratio, pretended
from rlhf.roles.learner import Learner, LossSum, Objective, Update
from rlhf.roles.passes import Settings, minibatches, minibatches_of
from rlhf.roles.reference import LOGPROBS
from rlhf.roles.remote import KEEP, LEARN, Remote, remote
from rlhf.roles.saver import ModelSaver
from rlhf.roles.sft_policy import SFTPolicy


class Policy(SFTPolicy):
    """A language model that generates responses and learns from their scores by PPO."""

    def __init__(
        self,
        engine: TrainableEngine,
        learner: Learner,
        saver: ModelSaver,
        sampling: Sampling,
        settings: Settings,
    ) -> None:
        """Keep the trainable engine and what it needs to learn, to generate and to be saved."""
        super().__init__(engine, learner, saver, sampling, settings)
        self._config = settings.ppo
        low, high = settings.ppo.clip_range, settings.ppo.clip_range_high
        self._clip = Clip(low, low if high is None else high, settings.ppo.dual_clip)
        self._average: WeightAverage | None = None

    @remote(LOGPROBS)
    def reference_logprobs(self, rollout: Rollout, step: int) -> tuple[Tensor, Tensor]:
        """Return the reference's log-probabilities: the same weights with the adapters off."""
        assert self.saver.adapter is not None
        with self.saver.adapter.off():
            return self.step_logprobs(rollout, step)

    @remote(Remote())
    def rehearse(self, prompts: PromptBatch) -> str:
        """Try the sampler, and the first update's ratio, which must be 1 before any learning.

        Raises:
            ModelError: when no generation backend is correct for the model.
            TrainingError: when scoring and update use different models.
        """
        writes, rollout = self.chosen_backend(prompts), pretended(prompts)
        if rollout is None:
            return writes
        mine_BR = placed([self.step_logprobs(rollout, 0)], len(rollout))
        old_BR = self.engine.world.total(mine_BR).float()
        first = minibatches_of(len(rollout), 0, 0, self._settings)[0]
        report = self.learner.look(self._objective(as_experience(rollout, old_BR).select(first)))
        return f"{writes}; {checked_first_ratio(report, self._settings.precision)}"

    @remote(LEARN)
    def improve(
        self, experience: Experience, step: int, texts: Demonstrations | None = None
    ) -> Metrics:
        """Run the PPO epochs on the clipped surrogate (Schulman et al. 2017, eq. 7).

        While the value role warms up, the policy waits. Epochs stop early when the policy has
        moved farther than ppo.max_approx_kl from where the step began.

        Args:
            experience: The step's whole experience.
            step: Step of the stage; seeds the minibatches.
            texts: One row a response, for the PTX loss; None without that loss.
        """
        if step < self._config.value_warmup_steps:
            return Metrics()
        self._begin_average()
        updates: list[Update] = []
        for rows in minibatches(len(experience), step, self._settings):
            text = None if texts is None else texts.select(rows)
            updates.append(self._improve_on(experience.select(rows), text))
            if len(updates) == 1:
                checked_first_ratio(updates[0].reports[0], self._settings.precision, step)
            if self._is_too_far(updates[-1]):
                break
        if self._average is not None:
            self._average.observe()
        return _policy_metrics(updates)

    def _begin_average(self) -> None:
        """Start the weight average, if configured, at the weights before the first update."""
        decay = self._config.ema_decay
        if decay is not None and self._average is None:
            self._average = WeightAverage(self.engine, decay)

    def _is_too_far(self, update: Update) -> bool:
        limit = self._config.max_approx_kl
        return limit is not None and update.means["policy/approxkl_avg"] > limit

    def _improve_on(self, minibatch: Experience, texts: Demonstrations | None) -> Update:
        """Take one optimizer step."""
        surrogate = self._objective(minibatch)
        if texts is None:
            return self.learner.update(surrogate)
        return self.learner.update(
            surrogate, self._imitation.objective(texts, self._config.ptx_coef)
        )

    def _objective(self, minibatch: Experience) -> Objective[Experience]:
        """Return the surrogate of a minibatch; responses' weights multiply their advantages."""
        weight_B = token_weights(
            minibatch.response_lengths_B,
            self._config.loss_aggregation,
            self._settings.longest_response,
        )
        advantages_BR = minibatch.advantages_BR * weight_B[:, None].to(minibatch.advantages_BR)
        return Objective(
            batch=replace(minibatch, advantages_BR=advantages_BR),
            lengths_B=minibatch.lengths_B,
            count=float(minibatch.response_lengths_B.sum()),
            loss_of=self._surrogate,
        )

    def _surrogate(self, batch: Experience) -> LossSum:
        logprobs_BR, entropy_BR = self._logprobs_and_entropy(batch)
        device = logprobs_BR.device
        mask_BR = batch.response_mask_BR.to(device)
        result = policy_loss(
            logprobs_BR,
            batch.old_logprobs_BR.to(device),
            batch.advantages_BR.to(device),
            mask_BR,
            self._clip,
        )
        return _summed(result, entropy_BR)

    @remote(KEEP)
    def save(self, folder: Path) -> None:
        """Save the model as a plain Hugging Face folder: the average where one is kept."""
        self.saver.save(folder, None if self._average is None else self._average.weights())

    @remote(KEEP)
    def save_state(self, folder: Path) -> None:
        """Save weights and moments for a resume."""
        super().save_state(folder)
        if self._average is not None:
            self._average.save_state(folder)

    @remote(KEEP)
    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` saved; before the first PPO update there is no average."""
        super().load_state(folder)
        if (folder / AVERAGE_FILE).is_file():
            self._begin_average()
            assert self._average is not None
            self._average.load_state(folder)


def _summed(result: PolicyLoss, entropy_BR: Tensor) -> LossSum:
    sums = {
        "policy/clipfrac_avg": result.clipped,
        "policy/dual_clipfrac_avg": result.dual_clipped,
        "policy/approxkl_avg": result.approx_kl,
        K3: result.k3,
        "policy/log_ratio_clamped": result.num_clamped,
        "policy/entropy_avg": entropy_BR.sum(),
        "policy/ratio": result.ratio_sum,
        "policy/ratio_square": result.ratio_square_sum,
    }
    peaks = {"policy/ratio_max": result.ratio_max, "log_ratio_max": result.log_ratio_max}
    return LossSum(result.loss, sums, peaks)


def _policy_metrics(updates: list[Update]) -> Metrics:
    means = Metrics.merge(Metrics.of(_of_update(update)) for update in updates).means()
    means.pop("policy/ratio_square")
    means.pop(K3)
    means["policy/ratio_max"] = max(update.peaks["policy/ratio_max"] for update in updates)
    means["policy/ratio_first_max_error"] = updates[0].peaks["log_ratio_max"]
    means["policy/ratio_first_k3"] = updates[0].means[K3]
    means["policy/num_updates"] = float(len(updates))
    return Metrics.of(means)


def _of_update(update: Update) -> dict[str, float]:
    figures = {
        **update.means,
        "policy/ratio_var": update.means["policy/ratio_square"] - update.means["policy/ratio"] ** 2,
        "loss/policy_avg": update.loss,
        "policy/grad_norm": update.grad_norm,
        "lr": update.lr,
    }
    if len(update.reports) > 1:
        figures["loss/ptx_avg"] = update.reports[1].loss
    return figures
