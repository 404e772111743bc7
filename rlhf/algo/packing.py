"""How rows share a forward: several stand behind one another in a bin, so little is padding.

Axes: B rows, T tokens of a row, S bins, W columns of a bin.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from rlhf.flow.rollout import Experience, Rollout, response_positions
from rlhf.flow.tensors import length_mask

PADDING = 0.05
"""Share of a forward's tokens that may be padding; wider bins are tried until it is reached."""
WIDEST = 3
"""Bins are at most 3 times the longest row.

Attention costs a bin's width a token, so the narrowest width that will do is taken.
"""
STEPS = 16
"""Round numbers between a power of 2 and the next.

Matrix kernels are made for each shape when it is first met, on CPUs with matrix units in as much
time as ten products take, so sizes are made round that vary from one forward to the next.
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """The bin, the column and the length of each row."""

    bin_B: Tensor
    """Which bin, int64."""
    column_B: Tensor
    """In which column of it the row begins, int64."""
    num_bins: int
    width: int
    """Columns of every bin."""

    @property
    def num_tokens(self) -> int:
        """The tokens that a forward computes, padding included."""
        return self.num_bins * self.width


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows as a network reads them."""

    tokens_SW: Tensor
    """Token ids, int64; one of the batch's at padding."""
    position_ids_SW: Tensor | None
    """Int64; from 0 in every row, and 0 in the padding, as a network may know no more places than
    its longest rows have; None where all bins hold one."""
    starts_B: Tensor
    """Flat position (bin * W + column) of each row's first token, int64."""

    def to(self, device: torch.device | str) -> PackedRows:
        """Return the rows with every tensor on the device."""
        ids_SW = None if self.position_ids_SW is None else self.position_ids_SW.to(device)
        return PackedRows(self.tokens_SW.to(device), ids_SW, self.starts_B.to(device))


def bin_pack(lengths_B: Tensor, *, packs: bool) -> Layout:
    """Find bins for rows so that at most PADDING is padding, in the narrowest round width.

    A bin takes the longest row that still fits, again and again (first-fit decreasing, Johnson
    1973), O(B log B) a width. Rows of nearly one length get a bin each, in their order.

    Args:
        lengths_B: Tokens a row, int64, at least 1.
        packs: Whether rows may share a bin at all.
    """
    lengths: list[int] = lengths_B.tolist()
    longest, real = max(lengths), sum(lengths)
    bins = [[row] for row in range(len(lengths))]
    width, size, tried = longest, longest * len(bins), rounded(longest)
    while packs and real < (1 - PADDING) * size and tried <= WIDEST * longest:
        found = _fill(lengths, tried)
        does = real >= (1 - PADDING) * len(found) * tried
        needed = tried if does else _fullest(lengths, found)
        if len(found) * needed < size:
            bins, width, size = found, needed, len(found) * needed
        if len(found) == 1:
            break
        tried += step_of(longest)
    return _layout(lengths, bins, width)


def rounded(number: int) -> int:
    """Return the next number up of which there are STEPS between a power of 2 and the next."""
    return -(-number // step_of(number)) * step_of(number)


def step_of(number: int) -> int:
    """Return the distance between neighbouring round numbers of its size."""
    return max(1, (1 << number.bit_length() - 1) // STEPS)


def pack_rows(tokens_BT: Tensor, lengths_B: Tensor, *, packs: bool) -> PackedRows:
    """Put right-padded rows into bins.

    Args:
        tokens_BT: Token ids, int64; what stands behind a row's length is not read.
        lengths_B: Tokens a row, int64, at least 1.
        packs: Whether rows may share a bin.
    """
    layout = bin_pack(lengths_B, packs=packs)
    starts_B = layout.bin_B * layout.width + layout.column_B
    real_BT = length_mask(lengths_B, tokens_BT.shape[1])
    places_BT = starts_B[:, None] + torch.arange(tokens_BT.shape[1])
    # A real token: some networks have zeros for a pad, and no gradient there but NaN.
    tokens_SW = torch.full((layout.num_bins, layout.width), int(tokens_BT[0, 0]))
    tokens_SW.view(-1)[places_BT[real_BT]] = tokens_BT[real_BT]
    if layout.num_bins == len(lengths_B):
        return PackedRows(tokens_SW, None, starts_B)
    position_ids_SW = torch.zeros_like(tokens_SW)
    position_ids_SW.view(-1)[places_BT[real_BT]] = torch.arange(tokens_BT.shape[1]).expand_as(
        real_BT
    )[real_BT]
    return PackedRows(tokens_SW, position_ids_SW, starts_B)


def response_targets(
    batch: Rollout | Experience, rows: PackedRows | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (tokens_SW, positions_N, targets_N) of all response tokens, row after row.

    Positions are flat (bin * W + column) and point at the logits *before* each token.

    Args:
        batch: Prompts and responses.
        rows: Where the batch's rows stand; one a bin if not given.
    """
    rows = rows or pack_rows(batch.tokens_BT, batch.lengths_B, packs=False)
    mask_BR = batch.response_mask_BR
    columns_BR = response_positions(batch.prompt_lengths_B, mask_BR.shape[1])
    positions_N = (rows.starts_B[:, None] + columns_BR)[mask_BR]
    return rows.tokens_SW, positions_N, rows.tokens_SW.flatten()[positions_N + 1]


def unpack(values_N: Tensor, mask_BR: Tensor) -> Tensor:
    """Put one value a real token back into [B, R]; 0 at padding. Differentiable."""
    grid_BR = torch.zeros(mask_BR.shape, dtype=values_N.dtype, device=values_N.device)
    return grid_BR.masked_scatter(mask_BR.to(values_N.device), values_N)


def _fill(lengths: list[int], width: int) -> list[list[int]]:
    """Fill bins of a width one by one, each with the longest row that still fits."""
    order = sorted(range(len(lengths)), key=lambda row: (lengths[row], -row))
    sizes, bins = [lengths[row] for row in order], list[list[int]]()
    while order:
        bins.append([])
        free = width
        while at := bisect_right(sizes, free):
            free -= sizes.pop(at - 1)
            bins[-1].append(order.pop(at - 1))
    return bins


def _fullest(lengths: list[int], bins: list[list[int]]) -> int:
    return max(sum(lengths[row] for row in rows) for rows in bins)


def _layout(lengths: list[int], bins: list[list[int]], width: int) -> Layout:
    bin_B = torch.zeros(len(lengths), dtype=torch.long)
    column_B = torch.zeros(len(lengths), dtype=torch.long)
    for number, rows in enumerate(bins):
        column = 0
        for row in rows:
            bin_B[row], column_B[row] = number, column
            column += lengths[row]
    return Layout(bin_B, column_B, len(bins), width)
