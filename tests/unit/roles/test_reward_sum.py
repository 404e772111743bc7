"""RewardSum: the parts there are, added; the others are not asked."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.future import Ready
from rlhf.roles.reward_sum import RewardSum
from tests.models import rollout


class Reward:
    """Notes what it is asked."""

    def __init__(self):
        self.asked = []

    def score_by_model(self, batch):
        self.asked.append("model")
        return Ready(torch.arange(float(len(batch))))

    def score_by_function(self, batch):
        self.asked.append("function")
        return Ready(torch.full((len(batch),), 10.0))


@pytest.mark.parametrize("model", (False, True))
@pytest.mark.parametrize("function", (False, True))
def test_only_the_parts_there_are_are_asked_and_added(model, function):
    reward = Reward()
    found = RewardSum(reward, model=model, function=function).score(rollout(3))
    wanted = model * torch.arange(3.0) + function * 10.0
    assert torch.equal(found, wanted)
    assert reward.asked == ["model"] * model + ["function"] * function
