"""How rows are cut up."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlhf.algo.minibatch import microbatches, minibatch_rows, num_computed, shares

LENGTHS = st.lists(st.integers(1, 40), min_size=0, max_size=30)


def rows_of(chunks: list[Tensor]) -> list[int]:
    return [row for chunk in chunks for row in chunk.tolist()]


@pytest.mark.parametrize(("num_rows", "size"), [(12, 4), (10, 4), (3, 8), (1, 1), (0, 4)])
def test_an_epoch_visits_every_row_once(num_rows: int, size: int) -> None:
    # correctness 54: each index exactly once an epoch, in ceil(rows / size) minibatches.
    chunks = minibatch_rows(num_rows, size, (1, "epoch", 0))
    assert sorted(rows_of(chunks)) == list(range(num_rows))
    assert len(chunks) == -(-num_rows // size)
    assert all(len(chunk) == size for chunk in chunks[:-1])


def test_every_epoch_is_shuffled_anew_and_repeats_exactly() -> None:
    # correctness 54, 11: reshuffled each epoch; the same key gives the same order anywhere.
    orders = [tuple(rows_of(minibatch_rows(64, 16, (7, "epoch", epoch)))) for epoch in range(4)]
    assert len(set(orders)) == 4
    assert tuple(range(64)) not in orders
    torch.manual_seed(123)
    assert tuple(rows_of(minibatch_rows(64, 16, (7, "epoch", 2)))) == orders[2]


def test_every_order_is_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for epoch in range(1200):
        order = tuple(rows_of(minibatch_rows(3, 3, ("order", epoch))))
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    chi_square = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi_square < 20.5, "the 0.999 quantile with 5 degrees of freedom"


@given(lengths=LENGTHS, num_ranks=st.integers(1, 5))
def test_shares_deal_every_row_once_and_balance_tokens(lengths: list[int], num_ranks: int) -> None:
    # correctness 11: the union of shares is the batch, disjoint.
    dealt = shares(torch.tensor(lengths, dtype=torch.int64), num_ranks)
    assert len(dealt) == num_ranks
    assert sorted(rows_of(dealt)) == list(range(len(lengths)))
    totals = [sum(lengths[row] for row in share.tolist()) for share in dealt]
    assert max(totals) - min(totals) <= max(lengths, default=0)
    if len(lengths) >= num_ranks:
        assert all(len(share) for share in dealt)
    assert all(share.dtype == torch.int64 for share in dealt)


def test_shares_go_longest_first_to_the_least_loaded() -> None:
    dealt = shares(torch.tensor([100, 1, 99, 2, 98, 3]), 2)
    assert [share.tolist() for share in dealt] == [[0, 1, 3, 5], [2, 4]]


@given(lengths=LENGTHS, max_tokens=st.integers(1, 100))
def test_microbatches_fit(lengths: list[int], max_tokens: int) -> None:
    # correctness 55: every row once; rows * longest <= max_tokens but for a single longer row.
    packs = microbatches(torch.tensor(lengths, dtype=torch.int64), max_tokens)
    assert sorted(rows_of(packs)) == list(range(len(lengths)))
    for pack in packs:
        longest = max(lengths[row] for row in pack.tolist())
        assert len(pack) * longest <= max_tokens or len(pack) == 1


@given(lengths=LENGTHS, max_tokens=st.integers(1, 100), num_texts=st.integers(1, 3))
def test_packed_microbatches_fit(lengths: list[int], max_tokens: int, num_texts: int) -> None:
    # correctness 55: every row once; never more tokens computed, but for a single longer row.
    lengths_B = torch.tensor(lengths, dtype=torch.int64)
    lengths_BK = torch.stack([(lengths_B - 7 * k).clamp(min=0) for k in range(num_texts)], dim=1)
    for asked in (lengths_B, lengths_BK):
        chunks = microbatches(asked, max_tokens, packs=True)
        assert sorted(rows_of(chunks)) == list(range(len(lengths)))
        for rows in chunks:
            assert len(rows) == 1 or num_computed(asked[rows], packs=True) <= max_tokens


def test_packed_microbatches_are_alike_and_few() -> None:
    lengths_B = 32 + torch.arange(256) * 37 % 65
    chunks = microbatches(lengths_B, 8192, packs=True)
    assert len(chunks) == 3
    totals = [int(lengths_B[rows].sum()) for rows in chunks]
    assert max(totals) - min(totals) <= 96
    assert sum(num_computed(lengths_B[rows], packs=True) for rows in chunks) <= sum(totals) / 0.95


def test_many_rows_are_sorted_and_share_no_bin() -> None:
    lengths_B = 32 + torch.arange(4096) * 37 % 65
    chunks = microbatches(lengths_B, 8192, packs=True)
    assert [rows.tolist() for rows in chunks] == [
        rows.tolist() for rows in microbatches(lengths_B, 8192)
    ]
    computed = sum(num_computed(lengths_B[rows], packs=True) for rows in chunks)
    assert int(lengths_B.sum()) >= 0.95 * computed


def test_a_row_longer_than_a_microbatch_is_one_by_itself() -> None:
    chunks = microbatches(torch.tensor([3, 50, 4, 5, 2]), 8, packs=True)
    assert [1] in [rows.tolist() for rows in chunks]


def test_texts_that_stay_together_are_padded_to_the_longest_of_all() -> None:
    packs = microbatches(torch.tensor([[2, 1], [4, 4], [1, 2]]), 8)
    assert [pack.tolist() for pack in packs] == [[1], [0, 2]]
    assert num_computed(torch.tensor([[2, 0], [4, 1]]), packs=False) == 12


def test_microbatches_go_by_length_and_waste_no_forward() -> None:
    packs = microbatches(torch.tensor([2, 8, 4, 2, 50, 4]), 8)
    assert [pack.tolist() for pack in packs] == [[4], [1], [2, 5], [0, 3]]
