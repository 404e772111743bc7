"""TensorBatch: a frozen record whose every field has one entry a row; it can be cut and joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Self

import torch
from torch import Tensor

from rlhf.errors import DataError

Column = Tensor | tuple[object, ...]


class TensorBatch:
    """Base for dataclasses whose every field is a tensor, or a tuple, with rows on axis 0.

    Joining batches of unequal width pads tensors on the right with zeros: every length that
    matters is a field of its own, so padding never carries meaning.
    """

    def __post_init__(self) -> None:
        """Check that all fields have the same number of rows.

        Raises:
            DataError: when they have not.
        """
        rows = {name: len(column) for name, column in self._columns().items()}
        if len(set(rows.values())) > 1:
            raise DataError(f"{type(self).__name__} fields differ in row count: {rows}")

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self._columns().values())))

    def _columns(self) -> dict[str, Column]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def select(self, rows: Tensor | Sequence[int]) -> Self:
        """Return the chosen rows, in the order given, as a new batch."""
        index = torch.as_tensor(rows, dtype=torch.long)
        chosen = {name: _take(column, index) for name, column in self._columns().items()}
        return replace(self, **chosen)  # type: ignore[type-var]

    def split(self, num_parts: int) -> list[Self]:
        """Cut into num_parts consecutive batches of nearly equal length; the inverse of concat."""
        return [self.select(rows) for rows in torch.arange(len(self)).tensor_split(num_parts)]

    def to(self, device: torch.device | str) -> Self:
        """Return the batch with every tensor on the device."""
        moved = {n: c.to(device) for n, c in self._columns().items() if isinstance(c, Tensor)}
        return replace(self, **moved)  # type: ignore[type-var]

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Join batches row-wise, padding narrower tensors with zeros on the right."""
        columns = [part._columns() for part in parts]
        return cls(**{name: _join([part[name] for part in columns]) for name in columns[0]})


def _take(column: Column, index: Tensor) -> Column:
    if isinstance(column, Tensor):
        return column[index.to(column.device)]
    return tuple(column[row] for row in index.tolist())


def _join(columns: Sequence[Column]) -> Column:
    tensors = [column for column in columns if isinstance(column, Tensor)]
    if len(tensors) == len(columns):
        return join_rows(tensors)
    return tuple(entry for column in columns for entry in column)


def join_rows(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate on axis 0, padding all other axes with zeros on the right to the widest."""
    shape = [max(sizes) for sizes in zip(*(t.shape[1:] for t in tensors), strict=True)]
    joined = tensors[0].new_zeros(sum(len(t) for t in tensors), *shape)
    start = 0
    for tensor in tensors:
        window = tuple(slice(0, size) for size in tensor.shape[1:])
        joined[(slice(start, start + len(tensor)), *window)] = tensor
        start += len(tensor)
    return joined


def in_row_order(parts: Sequence[Tensor], rows: Sequence[Tensor]) -> Tensor:
    """Join answers for shares of a batch, each row where it stands in the batch.

    Args:
        parts: (N, ...) a share, in any width; at least one.
        rows: Which rows each share has, int64; together all rows, each once.
    """
    return join_rows(parts)[torch.cat(list(rows)).argsort()]


def length_mask(lengths_B: Tensor, width: int) -> Tensor:
    """Return mask_BW, bool, true at the first lengths_B positions of each row."""
    return torch.arange(width, device=lengths_B.device) < lengths_B[:, None]


def placed(parts: Iterable[tuple[Tensor, Tensor]], num_rows: int) -> Tensor:
    """Return one tensor of num_rows from parts (rows_N int64, values_N...); 0 where none has a row.

    Args:
        parts: At least one (rows_N, values_N...); no row in two of them.
        num_rows: Rows of the whole.
    """
    rows, values = zip(*parts, strict=True)
    joined = join_rows(list(values))
    whole = joined.new_zeros(num_rows, *joined.shape[1:])
    whole[torch.cat(rows)] = joined
    return whole
