"""Passes: rows cut by tokens come back in order, and response tokens are found where they are."""

from __future__ import annotations

import pytest
import torch

from rlhf.engine.local import LocalEngine
from rlhf.models.language_model import LanguageModel
from rlhf.roles.passes import map_rows, response_targets, spread
from tests.models import causal, rollout


@pytest.mark.parametrize("max_tokens", (1, 20, 10_000))
def test_answers_come_back_in_row_order(max_tokens):
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(7)
    sizes = []

    def run(rows):
        sizes.append(len(rows) * int(rows.lengths_B.max()))
        return rows.tokens_BT[:, :1].float()

    got = map_rows(engine, batch, batch.lengths_B, max_tokens, run)
    assert torch.equal(got, batch.tokens_BT[:, :1].float())
    assert all(size <= max(max_tokens, int(batch.lengths_B.max())) for size in sizes)


def test_no_rows_give_no_answers():
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(7).select([])
    assert map_rows(engine, batch, batch.lengths_B, 10, lambda rows: rows.tokens_BT).shape[0] == 0


def test_nothing_keeps_a_gradient():
    # correctness 28
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(3)

    def run(rows):
        return spread(engine(*response_targets(rows), 1.0)[0], rows.response_mask_BR)

    got = map_rows(engine, batch, batch.lengths_B, 10_000, run)
    assert got.any()
    assert not got.requires_grad


def test_targets_are_the_response_tokens_and_positions_stand_before_them():
    # correctness 51: the logits and the value before a token.
    batch = rollout(7)
    tokens_BT, positions_N, targets_N = response_targets(batch)
    assert tokens_BT.shape[1] == int(batch.lengths_B.max())
    assert targets_N.tolist() == [token for row in batch.response_tokens() for token in row]
    rows, columns = positions_N // tokens_BT.shape[1], positions_N % tokens_BT.shape[1]
    assert torch.equal(tokens_BT[rows, columns + 1], targets_N)
    assert torch.equal(columns[:1], batch.prompt_lengths_B[:1] - 1)


def test_spread_puts_values_at_real_tokens_and_lets_gradients_through():
    mask_BR = torch.tensor([[True, True, False], [True, False, False]])
    values_N = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    grid_BR = spread(values_N, mask_BR)
    assert grid_BR.tolist() == [[1, 2, 0], [3, 0, 0]]
    (grid_BR * torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]])).sum().backward()
    assert values_N.grad.tolist() == [1, 2, 3]
