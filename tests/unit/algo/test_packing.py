"""Rows in bins: each once, none over another, and next to no padding."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlhf.algo.packing import STEPS, WIDEST, bin_pack, pack_rows, rounded

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=40)


def skewed(num_rows: int, seed: int) -> Tensor:
    """Prompts of 32 and exponential responses, their mean a third of the longest, 64."""
    draw = torch.Generator().manual_seed(seed)
    drawn_B = torch.empty(num_rows).exponential_(3 / 64, generator=draw).ceil()
    return 32 + drawn_B.clamp(1, 64).long()


def drawn_rows(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """Rows of tokens that name their own place, and noise where there is none."""
    tokens_BT = 1 + torch.arange(len(lengths) * 60).reshape(-1, 60)
    lengths_B = torch.tensor(lengths)
    noise_BT = torch.arange(60) >= lengths_B[:, None]
    return tokens_BT.masked_fill(noise_BT, -7), lengths_B


@pytest.mark.parametrize("num_rows", (64, 256, 512))
@pytest.mark.parametrize("seed", range(5))
def test_skewed_lengths_leave_five_percent_of_padding(num_rows: int, seed: int) -> None:
    lengths_B = skewed(num_rows, seed)
    real = int(lengths_B.sum())
    assert 1 - real / bin_pack(lengths_B, packs=False).num_tokens > 0.4
    layout = bin_pack(lengths_B, packs=True)
    assert 1 - real / layout.num_tokens <= 0.05
    assert layout.width < WIDEST * int(lengths_B.max())


def test_forwards_of_like_rows_have_few_sizes():
    # Each size is met for the first time once, which costs a CPU with matrix units dearly.
    sizes = {bin_pack(skewed(32, seed), packs=True).num_tokens for seed in range(200)}
    assert len(sizes) <= 55


@given(number=st.integers(1, 10**6))
def test_round_numbers_are_few_and_near(number: int) -> None:
    found = rounded(number)
    assert number <= found <= number * (1 + 1 / STEPS)
    assert rounded(found) == found
    assert len({rounded(n) for n in range(512, 1024)}) == STEPS + 1


@given(lengths=LENGTHS, packs=st.booleans())
def test_every_token_stands_once_where_its_row_says(lengths: list[int], packs: bool) -> None:
    tokens_BT, lengths_B = drawn_rows(lengths)
    rows = pack_rows(tokens_BT, lengths_B, packs=packs)
    flat = rows.tokens_SW.flatten()
    for row, (start, length) in enumerate(zip(rows.starts_B.tolist(), lengths, strict=True)):
        assert torch.equal(flat[start : start + length], tokens_BT[row, :length])
        assert start // rows.tokens_SW.shape[1] == (start + length - 1) // rows.tokens_SW.shape[1]
    padding = torch.ones(flat.numel(), dtype=torch.bool)
    for start, length in zip(rows.starts_B.tolist(), lengths, strict=True):
        padding[start : start + length] = False
    assert bool((flat[padding] == tokens_BT[0, 0]).all()), "whatever stood behind rows"
    assert flat.numel() <= max(lengths) * len(lengths)
    assert rows.tokens_SW.shape[1] <= (WIDEST if packs else 1) * max(lengths)


@given(lengths=LENGTHS)
def test_position_ids_count_from_0_in_every_row_and_are_0_in_the_padding(
    lengths: list[int],
) -> None:
    # correctness 3: every place of padding is a text of its own, so no query is without a key, and
    # no id is as large as the longest row, which may be as long as a network's context.
    rows = pack_rows(*drawn_rows(lengths), packs=True)
    if rows.position_ids_SW is None:
        assert len(rows.tokens_SW) == len(lengths)
        return
    wanted = torch.zeros(rows.tokens_SW.numel(), dtype=torch.long)
    for start, length in zip(rows.starts_B.tolist(), lengths, strict=True):
        wanted[start : start + length] = torch.arange(length)
    assert torch.equal(rows.position_ids_SW.flatten(), wanted)
    assert int(rows.position_ids_SW.max()) < max(lengths)


def test_rows_of_one_length_get_a_bin_each_in_their_order() -> None:
    tokens_BT, lengths_B = drawn_rows([40] * 6)
    rows = pack_rows(tokens_BT, lengths_B, packs=True)
    assert rows.position_ids_SW is None, "plain causal attention, no mask"
    assert torch.equal(rows.tokens_SW, tokens_BT[:, :40])


def test_a_model_that_cannot_pack_gets_a_row_a_bin() -> None:
    tokens_BT, lengths_B = drawn_rows([60, 3, 20, 1])
    rows = pack_rows(tokens_BT, lengths_B, packs=False)
    assert rows.position_ids_SW is None
    assert rows.starts_B.tolist() == [0, 60, 120, 180]


def test_the_narrowest_bins_that_will_do_are_taken() -> None:
    layout = bin_pack(torch.tensor([60, 30, 30, 20, 20, 20]), packs=True)
    assert (layout.num_bins, layout.width) == (3, 60)
    assert layout.bin_B.tolist() == [0, 1, 1, 2, 2, 2]
    assert layout.column_B.tolist() == [0, 0, 30, 0, 20, 40]
