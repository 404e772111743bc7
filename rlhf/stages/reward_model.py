"""The reward-model stage: learn to score answers as people ranked them.

Axes: B rows, K ranked answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.algo.losses import ranking_loss
from rlhf.catalog import stages as catalog
from rlhf.config.stages import RewardModelConfig
from rlhf.flow.metrics import Metrics
from rlhf.flow.text import Rankings
from rlhf.roles.ports import Checkpointable, RankingPort
from rlhf.stages.epochs import Epochs

NORMALISATION_ROWS = 512
"""Training prompts whose answers' scores set the mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class RewardModel(Epochs[Rankings]):
    """Bradley-Terry on ranked answers (Ouyang et al. 2022, eq. 1)."""

    reward: RankingPort
    config: RewardModelConfig

    @property
    def name(self) -> str:
        """The stage's name."""
        return catalog.REWARD_MODEL.name

    @property
    def _learner(self) -> tuple[str, Checkpointable]:
        """The reward model."""
        return "reward", self.reward

    def learn(self, batch: Rankings) -> Metrics:
        """Take one optimizer step."""
        return self.reward.rank(batch).result()

    def validate(self) -> Metrics:
        """Return loss and accuracy on held-out rankings."""
        scores_BK = self.reward.answer_scores(self.validation).result()
        return measure(scores_BK, self.validation, self.config.margin_coef)


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
    """Return mean and standard deviation of the scores of some training answers."""
    some = rankings.select(torch.arange(min(len(rankings), NORMALISATION_ROWS)))
    scores_N = reward.answer_scores(some).result()[some.lengths_BK > 0].double()
    return {"mean": scores_N.mean().item(), "std": max(scores_N.std(correction=0).item(), 1e-6)}
