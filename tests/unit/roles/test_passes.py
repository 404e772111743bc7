"""Passes: rows cut by tokens come back in order, and response tokens are found where they are."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.packing import response_targets, unpack
from rlhf.engine.local import LocalEngine
from rlhf.models.language_model import LanguageModel
from rlhf.roles.passes import map_rows, packed_rows
from rlhf.roles.reference import Reference
from tests.models import causal, rollout, settings
from tests.specs import logprobs


@pytest.mark.parametrize("packs", (True, False))
@pytest.mark.parametrize("max_tokens", (1, 20, 10_000))
def test_answers_come_back_in_row_order(max_tokens, packs):
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(7)
    engine.module.packs = packs
    sizes = []

    def run(rows):
        sizes.append(packed_rows(engine, rows.tokens_BT, rows.lengths_B).tokens_SW.numel())
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
        return unpack(engine(*response_targets(rows), 1.0)[0], rows.response_mask_BR)

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


def test_targets_of_packed_rows_are_the_same_and_stand_in_their_bins():
    # correctness 51
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(7)
    rows = packed_rows(engine, batch.tokens_BT, batch.lengths_B)
    assert len(rows.tokens_SW) < 7
    tokens_SW, positions_N, targets_N = response_targets(batch, rows)
    assert targets_N.tolist() == [token for row in batch.response_tokens() for token in row]
    assert torch.equal(tokens_SW.flatten()[positions_N + 1], targets_N)
    _, plain_N, _ = response_targets(batch)
    before_N = rows.position_ids_SW.flatten()[positions_N]
    assert torch.equal(before_N, plain_N % int(batch.lengths_B.max()))


@pytest.mark.parametrize("packs", (True, False))
def test_packed_or_not_logprobs_are_those_of_a_row_alone(packs):
    # correctness 3
    engine, batch = LocalEngine(LanguageModel(causal())), rollout(7)
    engine.module.packs = packs
    role = Reference(engine, settings(max_tokens=60), temperature=0.7)
    got = logprobs(role, batch, 0)
    wanted = torch.cat([logprobs(role, batch.select([row]), 0) for row in range(7)])
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=0)


def test_spread_puts_values_at_real_tokens_and_lets_gradients_through():
    mask_BR = torch.tensor([[True, True, False], [True, False, False]])
    values_N = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    grid_BR = unpack(values_N, mask_BR)
    assert grid_BR.tolist() == [[1, 2, 0], [3, 0, 0]]
    (grid_BR * torch.tensor([[1.0, 2.0, 9.0], [3.0, 9.0, 9.0]])).sum().backward()
    assert values_N.grad.tolist() == [1, 2, 3]
