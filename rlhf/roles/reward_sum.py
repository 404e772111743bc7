"""RewardSum: the reward as PPO asks it, of a model, a function, or both."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.future import Future, Ready
from rlhf.flow.rollout import Rollout
from rlhf.roles.ports import RewardPort


class RewardSum:
    """Asks only for the parts there are; the others count 0, and nobody is disturbed for them."""

    def __init__(self, reward: RewardPort, *, model: bool, function: bool) -> None:
        """Say which parts the reward has."""
        self._reward, self._model, self._function = reward, model, function

    def score_by_model(self, rollout: Rollout) -> Future[Tensor]:
        """Return the model's weighted score_B of any rows."""
        if not self._model:
            return Ready(torch.zeros(len(rollout)))
        return self._reward.score_by_model(rollout)

    def score_by_function(self, rollout: Rollout) -> Future[Tensor]:
        """Return the function's weighted score_B of a whole batch."""
        if not self._function:
            return Ready(torch.zeros(len(rollout)))
        return self._reward.score_by_function(rollout)

    def score(self, rollout: Rollout) -> Tensor:
        """Return score_B of a whole batch, float32: model plus function."""
        asked = (self.score_by_model(rollout), self.score_by_function(rollout))
        return torch.stack([score_B.result() for score_B in asked]).sum(0)
