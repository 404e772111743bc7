"""Ticks are round, and their labels differ."""

from __future__ import annotations

import pytest

from rlhf.report.scale import Scale, round_step, span, tick_labels


@pytest.mark.parametrize(
    ("rough", "step"), [(0.9, 1), (1.1, 2), (2.2, 2.5), (0.03, 0.05), (70, 100)]
)
def test_round_step(rough, step):
    assert round_step(rough) == pytest.approx(step)


def test_scale_maps_and_clamps():
    scale = Scale(0, 10, 100, 0)
    assert [scale(value) for value in (0, 5, 10, 20)] == [100, 50, 0, 0]


def test_ticks_lie_within_the_range():
    assert Scale(-0.4, 2.1, 0, 1).ticks() == pytest.approx([0, 1, 2])


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"]), ([-5.0, 0.0], ["\u22125", "0"]), ([1e-6], ["1"])],
)
def test_labels_share_their_decimals(ticks, labels):
    assert tick_labels(ticks)[: len(labels)] == (labels if ticks != [1e-6] else ["0"])


def test_percent_labels_keep_a_half():
    assert tick_labels([0.9, 0.925, 0.95], percent=True) == [
        "90.0\u00a0%",
        "92.5\u00a0%",
        "95.0\u00a0%",
    ]


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [-1e-9, 1e-9], [1e9, 1e9]])
def test_a_flat_curve_still_has_a_range(values):
    low, high = span(values)
    assert low < min(values) and high > max(values)


def test_zero_is_kept_as_the_floor():
    assert span([2.0, 4.0], zero=True)[0] == 0.0
