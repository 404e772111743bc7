"""The reward-model stage: learn to score answers as people ranked them.

Axes: B rows, K ranked answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algo.losses import ranking_loss
from rlhf.config.stages import RewardModelConfig
from rlhf.data.stream import Stream
from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import settle
from rlhf.flow.text import Rankings
from rlhf.roles.ports import Keeper, RankingPort
from rlhf.stages.best import Best
from rlhf.stages.epochs import num_steps

NORMALISATION_ROWS = 512
"""Training prompts whose answers' scores set the mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class RewardModel:
    """Bradley-Terry on ranked answers (Ouyang et al. 2022, eq. 1)."""

    reward: RankingPort
    train: Stream[Rankings]
    validation: Rankings
    best: Best
    config: RewardModelConfig

    @property
    def name(self) -> str:
        """The stage's name."""
        return "reward_model"

    @property
    def total_steps(self) -> int:
        """Optimizer steps without early stopping."""
        return num_steps(self.config.num_epochs, self.train)

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report an optimizer step, until done or patience runs out."""
        for step in range(first_step, self.total_steps):
            if self.best.is_over:
                return
            yield self.step(step)

    def step(self, step: int) -> Metrics:
        """Take one optimizer step, and validate when it is time."""
        learned = settle(self.reward.rank(self.train.batch(step)))
        done = step + 1
        if done % self.config.validate_every and done < self.total_steps:
            return learned
        return Metrics.merge([learned, self._validate(learned["loss/train"])])

    def _validate(self, train_loss: float) -> Metrics:
        """Measure loss and accuracy; without validation rows the training loss stands in."""
        if not len(self.validation):
            self.best.observe(train_loss, self.reward)
            return Metrics()
        scores_BK = settle(self.reward.answer_scores(self.validation))
        seen = measure(scores_BK, self.validation, self.config.margin_coef)
        self.best.observe(seen["loss/validation"], self.reward)
        return seen

    def keepers(self) -> dict[str, Keeper]:
        """Return the roles whose weights make up a checkpoint."""
        return {"reward": self.reward}

    def state(self) -> dict[str, object]:
        """Return what else a resume needs."""
        return self.best.state()

    def load(self, state: Mapping[str, object]) -> None:
        """Take up what `state` gave."""
        self.best.load(state)


def measure(scores_BK: Tensor, rankings: Rankings, margin_coef: float) -> Metrics:
    """Return loss/validation and accuracy/validation of scores, ties counting half."""
    margin_B = margin_coef * rankings.margin_B
    result = ranking_loss(scores_BK, rankings.lengths_BK > 0, margin_B)
    rows, pairs = float(result.rows), float(result.pairs)
    return Metrics(
        {
            "loss/validation": (float(result.loss), rows),
            "accuracy/validation": (float(result.correct), pairs),
        }
    )


def score_statistics(reward: RankingPort, rankings: Rankings) -> dict[str, float]:
    """Return mean and standard deviation of the scores of (some) training answers."""
    some = rankings.select(torch.arange(min(len(rankings), NORMALISATION_ROWS)))
    scores_N = settle(reward.answer_scores(some))[some.lengths_BK > 0].double()
    return {"mean": scores_N.mean().item(), "std": max(scores_N.std(correction=0).item(), 1e-6)}
