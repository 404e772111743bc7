"""RewardSum: the reward as PPO calls it: a model, a function, or both."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.future import Future, Ready
from rlhf.flow.rollout import Rollout
from rlhf.roles.ports import RewardPort


class RewardSum:
    """Calls only the scorers the reward has; an absent one counts 0 and costs no call."""

    def __init__(self, reward: RewardPort, *, model: bool, function: bool) -> None:
        """Keep the reward's port, and whether it has a model and a function."""
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
