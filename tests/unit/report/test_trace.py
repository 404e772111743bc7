"""A line keeps the shape of its points: averaged, made fewer, and drawn by the scales."""

from __future__ import annotations

import pytest

from rlhf.report.scale import Scale
from rlhf.report.trace import path, smooth, thin


def test_smoothing_averages_neighbours_and_keeps_the_steps():
    zigzag = [(float(step), float(step % 2)) for step in range(90)]
    smoothed = smooth(zigzag)
    assert [x for x, _ in smoothed] == [x for x, _ in zigzag]
    assert all(y == pytest.approx(0.5, abs=0.1) for _, y in smoothed[3:-3])
    assert smoothed[0][1] == pytest.approx(0.5), "the mean of the first four"


def test_a_straight_line_stays_straight_away_from_its_ends():
    line = [(float(step), 2.0 * step) for step in range(60)]
    assert smooth(line)[2:-2] == line[2:-2]


def test_thinning_takes_means_of_equal_groups():
    points = [(float(step), 10.0 * step) for step in range(8)]
    assert thin(points, most=4) == [(0.5, 5.0), (2.5, 25.0), (4.5, 45.0), (6.5, 65.0)]
    assert len(thin(points, most=3)) == 3
    assert thin(points, most=8) == points
    assert thin([]) == []


def test_the_path_goes_through_the_scaled_points():
    x, y = Scale(0, 10, 100, 200), Scale(0, 1, 50, 0)
    assert path([(0, 0), (5, 1), (10, 0.5)], x, y) == "M100.0,50.0L150.0,0.0L200.0,25.0"
