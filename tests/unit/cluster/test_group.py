"""Dealing rows over ranks, and joining the answers in the old order."""

from __future__ import annotations

import pytest
import torch

from rlhf.cluster.group import Then, on_every_rank, over_ranks, row_order
from rlhf.cluster.in_process import Done
from tests.models import prompts


class Many:
    """A group whose ranks say what they were given."""

    name = "policy"

    def __init__(self, size):
        self.size = size

    def call(self, method, arguments):
        assert len(arguments) == self.size
        return Done([(method, *given) for given in arguments])


@pytest.mark.parametrize("num_ranks", (1, 2, 3, 9))
def test_rows_are_dealt_and_come_back_in_order(num_ranks):
    batch = prompts(7)
    calls = over_ranks(Many(num_ranks), "generate", batch, batch.lengths_B, "step").result()
    assert {method for method, _, _ in calls} == {"generate"}
    assert {word for _, _, word in calls} == {"step"}
    dealt = torch.cat([part.sample_B for _, part, _ in calls])
    assert torch.equal(dealt[row_order(batch.lengths_B, num_ranks)], batch.sample_B)


def test_every_rank_is_told_the_same_and_the_first_one_answers():
    assert on_every_rank(Many(3), "save", "here").result() == ("save", "here")


def test_then_changes_the_answer_when_it_comes():
    assert Then(Done([1, 2]), sum).result() == 3
