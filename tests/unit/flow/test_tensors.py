"""TensorBatch: cutting and joining lose nothing and invent nothing but zeros."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlhf.errors import DataError
from rlhf.flow.tensors import TensorBatch, join_rows, length_mask, placed


@dataclass(frozen=True, kw_only=True, slots=True)
class Table(TensorBatch):
    tokens_BT: Tensor
    lengths_B: Tensor
    names: tuple[object, ...]


def table(num_rows: int = 5, width: int = 3, start: int = 0) -> Table:
    rows = torch.arange(start, start + num_rows)
    return Table(
        tokens_BT=rows[:, None] * 10 + torch.arange(width),
        lengths_B=torch.full((num_rows,), width),
        names=tuple(f"row {row}" for row in rows.tolist()),
    )


def same(one: Table, other: Table) -> bool:
    return (
        one.tokens_BT.equal(other.tokens_BT)
        and one.lengths_B.equal(other.lengths_B)
        and one.names == other.names
    )


def test_fields_of_unequal_length_are_refused_with_their_sizes():
    with pytest.raises(DataError, match=r"Table fields differ in row count.*'names': 1"):
        Table(tokens_BT=torch.zeros(2, 3), lengths_B=torch.zeros(2), names=("one",))


def test_it_is_frozen():
    with pytest.raises(FrozenInstanceError):
        table().lengths_B = torch.zeros(5)


def test_select_takes_rows_in_the_order_asked_for_and_may_repeat_them():
    chosen = table().select([4, 0, 4])
    assert chosen.names == ("row 4", "row 0", "row 4")
    assert chosen.tokens_BT[:, 0].tolist() == [40, 0, 40]


def test_select_nothing_keeps_the_width():
    nothing = table().select([])
    assert len(nothing) == 0
    assert nothing.tokens_BT.shape == (0, 3)
    assert nothing.names == ()


@given(num_rows=st.integers(0, 9), num_parts=st.integers(1, 6))
def test_concat_undoes_split(num_rows, num_parts):
    whole = table(num_rows)
    parts = whole.split(num_parts)
    assert len(parts) == num_parts
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert same(Table.concat(parts), whole)


def test_concat_pads_narrow_tensors_with_zeros_on_the_right():
    joined = Table.concat([table(1, width=2), table(1, width=4, start=1)])
    assert joined.tokens_BT.tolist() == [[0, 1, 0, 0], [10, 11, 12, 13]]
    assert joined.lengths_B.tolist() == [2, 4]


def test_join_rows_pads_every_axis_and_keeps_the_dtype():
    joined = join_rows(
        [torch.ones(1, 1, 3, dtype=torch.bool), torch.ones(1, 2, 1, dtype=torch.bool)]
    )
    assert joined.shape == (2, 2, 3)
    assert joined.dtype == torch.bool
    assert int(joined.sum()) == 5


def test_to_moves_the_tensors_and_leaves_the_rest():
    moved = table().to("meta")
    assert moved.tokens_BT.device.type == "meta"
    assert moved.names == table().names


def test_length_mask_marks_the_first_positions_of_each_row():
    mask = length_mask(torch.tensor([0, 1, 3]), 3)
    assert mask.tolist() == [[False] * 3, [True, False, False], [True] * 3]


def test_parts_are_placed_by_their_rows_and_padded_to_the_widest():
    parts = [
        (torch.tensor([3, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        (torch.tensor([], dtype=torch.long), torch.zeros(0, 1)),
        (torch.tensor([1]), torch.tensor([[5.0]])),
    ]
    whole = placed(parts, 4)
    assert whole.tolist() == [[3.0, 4.0], [5.0, 0.0], [0.0, 0.0], [1.0, 2.0]]
