"""RewardSum: the reward as PPO calls it: what its sources say, and their sum.

Axes: B rows, C sources of the reward.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.future import Future, Ready
from rlhf.flow.rollout import Rollout
from rlhf.rewards.mix import Mix
from rlhf.roles.ports import RewardPort


class RewardSum:
    """Makes only the calls that some source needs."""

    def __init__(self, reward: RewardPort, mix: Mix) -> None:
        """Keep the reward's port, and its sources."""
        self._reward, self.mix = reward, mix

    def score_rows(self, rollout: Rollout) -> Future[Tensor]:
        """Return by_rows_BC of any rows."""
        if not self.mix.by_rows:
            return Ready(torch.zeros(len(rollout), 0))
        return self._reward.score_rows(rollout)

    def score_batch(self, rollout: Rollout) -> Future[Tensor]:
        """Return by_batch_BC of a whole batch."""
        if not self.mix.by_batch:
            return Ready(torch.zeros(len(rollout), 0))
        return self._reward.score_batch(rollout)

    def score(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return score_B of a whole batch, float32, and parts_BC, what each source said."""
        asked = (self.score_rows(rollout), self.score_batch(rollout))
        parts_BC = self.mix.parts(*(scores_BC.result() for scores_BC in asked))
        return self.mix.total(parts_BC), parts_BC
