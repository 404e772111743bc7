"""How rows are cut up: shuffled minibatches, balanced shares of ranks, microbatches that fit.

How rows lie in a microbatch is described in `packing`. Functions that cut return int64 CPU index
tensors that together name each row exactly once, and depend on nothing but their arguments.
"""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from rlhf.algo.packing import PADDING, bin_pack
from rlhf.algo.seeding import derive_seed, uniforms


def minibatch_rows(
    num_rows: int, minibatch_size: int, seed_key: tuple[int | str, ...]
) -> list[Tensor]:
    """Return one epoch's row indices in shuffled minibatches; the last may be smaller.

    Args:
        num_rows: Rows of the whole batch.
        minibatch_size: Rows a minibatch, at least 1.
        seed_key: What the shuffle is for, such as (run_seed, "epoch", step, epoch).
    """
    if num_rows == 0:
        return []
    keys = uniforms(derive_seed(*seed_key), torch.arange(num_rows), 0)
    return list(torch.split(keys.argsort(stable=True), minibatch_size))


def shares(lengths_B: Tensor, num_ranks: int) -> list[Tensor]:
    """Deal rows over ranks so that total lengths differ by at most the longest row.

    Longest first, each to the rank with the least so far (Graham 1969); every rank gets a row
    when there are enough. A share lists its rows in their old order.

    Args:
        lengths_B: Tokens a row, int64, at least 1.
        num_ranks: Shares to make; without enough rows the last ones are empty.
    """
    lengths: list[int] = lengths_B.tolist()
    dealt: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [(0, rank) for rank in range(num_ranks)]
    for row in _longest_first(lengths):
        load, rank = loads[0]
        dealt[rank].append(row)
        heapq.heapreplace(loads, (load + lengths[row], rank))
    return [torch.tensor(sorted(rows), dtype=torch.int64) for rows in dealt]


def microbatches(lengths: Tensor, max_tokens: int, *, packs: bool = False) -> list[Tensor]:
    """Cut rows into chunks of which each computes at most max_tokens.

    A row longer than max_tokens gets a microbatch of its own. Rows go longest first, like with
    like, and a step that does not fit in memory fails at once. Where that leaves too much padding
    and rows may share bins, they are dealt so that chunks are alike, long and short together.

    Args:
        lengths: Tokens a row, int64, [B]; or [B, K] where K texts stay together, 0 for none.
        max_tokens: Most tokens a microbatch, padding included.
        packs: Whether rows (and texts) may share a bin, as in `packing.bin_pack`.
    """
    if len(lengths) == 0:
        return []
    lengths_BK = lengths.reshape(len(lengths), -1)
    sums_B = lengths_BK.sum(1)
    sorted_chunks = _padded(lengths_BK.amax(1) * lengths_BK.shape[1], max_tokens)
    padded = sum(num_computed(lengths_BK[rows], packs=False) for rows in sorted_chunks)
    if not packs or int(sums_B.sum()) >= (1 - PADDING) * padded:
        return sorted_chunks
    num_chunks = -(-int(sums_B.sum()) // max_tokens)
    while True:
        chunks = shares(sums_B, min(num_chunks, len(sums_B)))
        if all(len(rows) == 1 or _fits(lengths_BK[rows], max_tokens) for rows in chunks):
            return chunks
        num_chunks += 1 + num_chunks // 16


def sharded_microbatches(
    lengths: Tensor, num_ranks: int, max_tokens: int, *, packs: bool = False
) -> list[list[Tensor]]:
    """Deal the rows of a minibatch over ranks, and cut each rank's share into microbatches.

    Args:
        lengths: As in `microbatches`.
        num_ranks: Ranks that learn from the minibatch together.
        max_tokens: As in `microbatches`.
        packs: As in `microbatches`.

    Returns:
        A list of microbatches a rank, as rows of the minibatch.
    """
    sums_B = lengths.reshape(len(lengths), -1).sum(1)
    return [
        [share[rows] for rows in microbatches(lengths[share], max_tokens, packs=packs)]
        for share in shares(sums_B, num_ranks)
    ]


def num_computed(lengths: Tensor, *, packs: bool) -> int:
    """Return the tokens one microbatch of these rows computes, padding included.

    Args:
        lengths: As in `microbatches`, of at least one row.
        packs: As in `microbatches`.
    """
    return bin_pack(lengths[lengths > 0], packs=packs).num_tokens


def _fits(lengths_BK: Tensor, max_tokens: int) -> bool:
    if int(lengths_BK.sum()) > max_tokens:
        return False
    return num_computed(lengths_BK, packs=True) <= max_tokens


def _padded(lengths_B: Tensor, max_tokens: int) -> list[Tensor]:
    """Cut so that rows * longest <= max_tokens."""
    lengths: list[int] = lengths_B.tolist()
    order = _longest_first(lengths)
    packs: list[Tensor] = []
    start = 0
    while start < len(order):
        num_rows = max(1, max_tokens // lengths[order[start]])
        packs.append(torch.tensor(order[start : start + num_rows], dtype=torch.int64))
        start += num_rows
    return packs


def _longest_first(lengths: list[int]) -> list[int]:
    return sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
