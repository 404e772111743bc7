"""Stream: the batch of any step, as a pure function of seed, name and step."""

from __future__ import annotations

import hashlib
from typing import Generic

import torch
from torch import Tensor

from rlhf.data.split import B
from rlhf.errors import DataError


class Stream(Generic[B]):
    """Consecutive windows over an endless row of epochs, each a fresh permutation of all rows.

    Each row is used exactly once an epoch; a window may cross into the next epoch, so no row is
    left over. A resumed run asks for its step's batch and restores nothing.
    """

    def __init__(self, rows: B, batch_size: int, seed: int, name: str) -> None:
        """Bind rows.

        Args:
            rows: what is streamed, at least one row.
            batch_size: rows a batch.
            seed: the run's seed.
            name: distinguishes the streams of one run, such as "sft".

        Raises:
            DataError: when there are no rows, or the batch size is not positive.
        """
        if not len(rows):
            raise DataError(f"stream {name} has no rows; give its data at least one")
        if batch_size < 1:
            raise DataError(f"stream {name} has batch_size={batch_size}; it must be at least 1")
        self._rows = rows
        self._batch_size = batch_size
        self._label = f"{seed}/{name}"
        self._orders: dict[int, Tensor] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every row was used, the last of which may reach into the next epoch."""
        return -(-len(self._rows) // self._batch_size)

    def batch(self, step: int) -> B:
        """Return the batch of a step, counted from 0."""
        return self._rows.select(self.indices(step))

    def indices(self, step: int) -> Tensor:
        """Return indices_B, int64: which rows a step's batch holds.

        Raises:
            DataError: when the step is negative.
        """
        if step < 0:
            raise DataError(f"step={step} of stream {self._label}; steps count from 0")
        first = step * self._batch_size
        epoch, start = divmod(first, len(self._rows))
        parts: list[Tensor] = []
        missing = self._batch_size
        while missing:
            parts.append(self._order(epoch)[start : start + missing])
            missing -= len(parts[-1])
            epoch, start = epoch + 1, 0
        return torch.cat(parts)

    def _order(self, epoch: int) -> Tensor:
        """Return the permutation of an epoch; the last few are kept, as a shortcut only."""
        if epoch not in self._orders:
            digest = hashlib.sha256(f"{self._label}/{epoch}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            while len(self._orders) >= 2:
                del self._orders[next(iter(self._orders))]
            self._orders[epoch] = torch.randperm(len(self._rows), generator=generator)
        return self._orders[epoch]
