from __future__ import annotations

import pytest
import torch

from rlhf.data.stream import Stream
from rlhf.errors import DataError
from rlhf.flow.text import Demonstrations


def rows(count):
    return Demonstrations(
        tokens_BT=torch.arange(count)[:, None],
        lengths_B=torch.ones(count, dtype=torch.long),
        loss_mask_BT=torch.ones(count, 1, dtype=torch.bool),
    )


def drawn(stream, steps):
    return [i for step in steps for i in stream.batch(step).tokens_BT[:, 0].tolist()]


@pytest.mark.parametrize(("count", "size"), [(10, 3), (7, 7), (5, 12), (1, 4), (12, 4)])
def test_each_row_exactly_once_an_epoch(count, size):
    # correctness 11: every rank walks the same permutation of all rows.
    ids = drawn(Stream(rows(count), size, seed=3, name="sft"), range(count * 3))
    epochs = [ids[start : start + count] for start in range(0, len(ids), count)]
    assert len(ids) == count * 3 * size
    assert all(sorted(epoch) == list(range(count)) for epoch in epochs)


def test_epochs_differ():
    ids = drawn(Stream(rows(50), 50, seed=3, name="sft"), range(3))
    assert len({tuple(ids[s : s + 50]) for s in (0, 50, 100)}) == 3


def test_a_batch_does_not_depend_on_those_before():
    # correctness 66: the place in the data is the step's number.
    walked = Stream(rows(10), 3, seed=1, name="sft")
    batches = [drawn(walked, [step]) for step in range(40)]
    for step in (39, 0, 17, 3):
        assert drawn(Stream(rows(10), 3, seed=1, name="sft"), [step]) == batches[step]
        assert drawn(walked, [step]) == batches[step]


def test_seed_and_name_change_the_order():
    orders = {
        tuple(drawn(Stream(rows(30), 30, seed=seed, name=name), [0]))
        for seed, name in ((0, "a"), (1, "a"), (0, "b"))
    }
    assert len(orders) == 3


def test_steps_per_epoch_rounds_up():
    assert [Stream(rows(n), 4, 0, "a").steps_per_epoch for n in (1, 4, 5, 8)] == [1, 1, 2, 2]


def test_impossible_streams_are_refused():
    with pytest.raises(DataError, match="no rows"):
        Stream(rows(0), 4, 0, "sft")
    with pytest.raises(DataError, match="batch_size=0"):
        Stream(rows(1), 0, 0, "sft")
    with pytest.raises(DataError, match="step=-1"):
        Stream(rows(1), 1, 0, "sft").batch(-1)
