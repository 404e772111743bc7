"""Mix: columns come back in the order of the sources, and each counts by its weight."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.specs import listed_mix, reward_mix

LISTED = (
    {"function": "a.py:f", "weight": 0.5},
    {"model": "x/y", "weight": -2.0},
    {"function": "a.py:g", "name": "style", "weight": 3.0},
    {"model": "z"},
)


def test_each_score_keeps_its_column_and_counts_by_its_weight():
    made = listed_mix(*LISTED)
    by_rows_BC = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    by_batch_BC = torch.tensor([[4.0, 0.0], [5.0, 1.0], [6.0, -1.0]])
    parts_BC = made.parts(by_rows_BC, by_batch_BC)
    assert parts_BC.tolist() == [[4.0, 1.0, 0.0, 10.0], [5.0, 2.0, 1.0, 20.0], [6.0, 3, -1, 30]]
    wanted = [2 - 2 + 0 + 10, 2.5 - 4 + 3 + 20, 3 - 6 - 3 + 30]
    assert made.total(parts_BC).tolist() == wanted
    assert made.names == ["f", "y", "style", "z"]
    assert made.models == [Path("x/y"), Path("z")]


def test_one_kind_alone_has_no_columns_of_the_other():
    models, nothing_BC = listed_mix(LISTED[1], LISTED[3]), torch.zeros(2, 0)
    assert models.by_batch == ()
    assert models.parts(torch.ones(2, 2), nothing_BC).tolist() == [[1, 1], [1, 1]]
    assert listed_mix(LISTED[0]).total(torch.ones(2, 1)).tolist() == [0.5, 0.5]
    assert models.parts(torch.zeros(0, 2), torch.zeros(0, 0)).shape == (0, 2)


def test_the_sum_in_words():
    assert listed_mix(*LISTED).described == (
        "0.5 x f (function a.py:f) + -2 x y (reward model x/y) + 3 x style (function a.py:g) + "
        "1 x z (reward model z)"
    )
    short = reward_mix("runs/a", "own.py:f", model_weight=2.0, function_weight=0.5)
    assert short.described == "0.5 x function own.py:f + 2 x reward model runs/a"
