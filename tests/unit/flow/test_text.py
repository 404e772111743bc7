"""The records of text: one entry a row in every field, and joinable at any width."""

from __future__ import annotations

import pytest
import torch

from rlhf.errors import DataError
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings


def prompts(width: int) -> PromptBatch:
    return PromptBatch(
        tokens_BP=torch.ones(2, width, dtype=torch.long),
        lengths_B=torch.tensor([1, width]),
        sample_B=torch.arange(2),
        prompts=("a", [{"role": "user", "content": "b"}]),
        columns=({"wanted": 1}, {"wanted": 2}),
    )


def test_prompts_keep_what_the_user_wrote_through_a_join():
    joined = PromptBatch.concat([prompts(2), prompts(4)])
    assert joined.tokens_BP.shape == (4, 4)
    assert joined.prompts[3] == [{"role": "user", "content": "b"}]
    assert [row["wanted"] for row in joined.columns] == [1, 2, 1, 2]


def test_rankings_of_unequal_depth_join_with_absent_answers():
    two = Rankings(
        tokens_BKT=torch.ones(1, 2, 3, dtype=torch.long),
        lengths_BK=torch.tensor([[3, 3]]),
        margin_B=torch.zeros(1),
    )
    three = Rankings(
        tokens_BKT=torch.ones(1, 3, 2, dtype=torch.long),
        lengths_BK=torch.tensor([[2, 2, 1]]),
        margin_B=torch.zeros(1),
    )
    joined = Rankings.concat([two, three])
    assert joined.lengths_BK.tolist() == [[3, 3, 0], [2, 2, 1]]
    assert joined.tokens_BKT.shape == (2, 3, 3)


def test_a_demonstration_without_its_mask_is_refused():
    with pytest.raises(DataError, match="loss_mask_BT"):
        Demonstrations(
            tokens_BT=torch.zeros(2, 3),
            lengths_B=torch.zeros(2),
            loss_mask_BT=torch.zeros(1, 3, dtype=torch.bool),
        )
