"""RewardSum: only the calls that a source needs, and each source's column in its place."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.future import Ready
from rlhf.roles.reward_sum import RewardSum
from tests.models import rollout
from tests.specs import listed_mix, reward_mix


class Reward:
    """Notes what it is asked; answers with a column a source."""

    def __init__(self, mix):
        self.asked, self._mix = [], mix

    def score_rows(self, batch):
        self.asked.append("rows")
        column_B = torch.arange(float(len(batch)))
        return Ready(torch.stack([column_B + at for at, _ in enumerate(self._mix.by_rows)], 1))

    def score_batch(self, batch):
        self.asked.append("batch")
        columns = [torch.full((len(batch),), 10.0 + at) for at, _ in enumerate(self._mix.by_batch)]
        return Ready(torch.stack(columns, 1))


@pytest.mark.parametrize("model", ("m", None))
@pytest.mark.parametrize("function", ("own.py:f", None))
def test_only_the_parts_there_are_are_asked_and_added(model, function):
    mix = reward_mix(model, function)
    reward = Reward(mix)
    score_B, parts_BC = RewardSum(reward, mix).score(rollout(3))
    wanted = (model is not None) * torch.arange(3.0) + (function is not None) * 10.0
    assert torch.equal(score_B, wanted)
    assert parts_BC.shape == (3, len(mix.sources))
    assert reward.asked == ["rows"] * (model is not None) + ["batch"] * (function is not None)


def test_several_of_each_kind_keep_their_columns_and_weights():
    listed = [{"function": "a.py:f", "weight": 2.0}, {"model": "x", "weight": -0.5}]
    listed += [{"function": "b.py:f", "weight": 0.25}, {"model": "y", "weight": 4.0}]
    mix = listed_mix(*listed)
    assert mix.names == ["f", "x", "f_2", "y"]
    score_B, parts_BC = RewardSum(Reward(mix), mix).score(rollout(2))
    assert parts_BC.tolist() == [[10.0, 0.0, 11.0, 1.0], [10.0, 1.0, 11.0, 2.0]]
    wanted = [20 - 0.5 * row + 0.25 * 11 + 4 * (1 + row) for row in range(2)]
    assert score_B.tolist() == wanted
