"""How rows are cut up: shuffled minibatches, balanced shares of ranks, microbatches that fit.

Every function returns int64 CPU index tensors that together name each row exactly once, and
depends on nothing but its arguments.
"""

from __future__ import annotations

import heapq

import torch
from torch import Tensor

from rlhf.algo.seeding import derive_seed, uniforms


def minibatch_rows(
    num_rows: int, minibatch_size: int, seed_key: tuple[int | str, ...]
) -> list[Tensor]:
    """Return one epoch's row indices in shuffled pieces; the last may be smaller.

    Args:
        num_rows: Rows of the whole batch.
        minibatch_size: Rows a piece, at least 1.
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


def microbatches(lengths_B: Tensor, max_tokens: int) -> list[Tensor]:
    """Pack rows of like length so that rows * longest <= max_tokens.

    Longest rows come first, so that a step that does not fit in memory fails at once. A row
    longer than max_tokens gets a microbatch of its own.

    Args:
        lengths_B: Tokens a row, int64, at least 1.
        max_tokens: Most tokens a microbatch, padding included.
    """
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
