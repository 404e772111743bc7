"""A curve's slope is numpy's, its interval holds the truth, and too few points say nothing."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from rlhf.algo.diagnostics import wilson_interval
from rlhf.observe import files
from rlhf.sweeps.data_curve import CURVE, Point, fit, point_of, told, write_curve

SIZES = (125, 250, 500, 1000)


def point(rankings, right, pairs):
    low, high = wilson_interval(right, pairs)
    return Point(rankings=rankings, accuracy=right / pairs, low=low, high=high, pairs=pairs)


def test_the_slope_is_that_of_numpy_with_the_same_weights():
    points = [point(n, right, 400) for n, right in zip(SIZES, (230, 262, 275, 301), strict=True)]
    xs, ys = np.log2(SIZES), np.array([p.accuracy for p in points])
    sigmas = np.array([(p.high - p.low) / 2 / 1.96 for p in points])
    (slope, level), covariance = np.polyfit(xs, ys, 1, w=1 / sigmas, cov="unscaled")
    found = fit(points)
    assert found is not None
    assert found.gain == pytest.approx(slope)
    assert found.at(2000) == pytest.approx(level + slope * math.log2(2000))
    assert (found.high - found.low) / 2 >= 1.96 * math.sqrt(covariance[0, 0]) - 1e-12


@pytest.mark.parametrize("luck", [0.0, 0.03])
@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_at_least_95_percent_of_the_intervals_hold_the_truth(slope, luck):
    """Held-out pairs drawn, and luck in training, a standard deviation of 3 points, or none."""
    draw = random.Random(7)
    held = 0
    for _ in range(300):
        points = []
        for size in SIZES:
            truth = 0.6 + slope * math.log2(size / 125) + draw.gauss(0, luck)
            points.append(point(size, sum(draw.random() < truth for _ in range(400)), 400))
        found = fit(points)
        assert found is not None
        held += found.low <= slope <= found.high
    assert held >= 280


def test_fewer_than_three_numbers_of_rankings_say_nothing():
    points = [point(10, 5, 10), point(10, 6, 10), point(20, 7, 10), point(20, 7, 10)]
    assert fit(points) is None
    assert "too few points to say" in told(points, None)
    assert "there are 2" in told(points, None)


@pytest.mark.parametrize(
    ("rights", "said"),
    [
        ((2400, 2600, 2800, 3000), "twice as many would bring about as much again"),
        ((3000, 3001, 3000, 3001), "twice as many would bring less than one point"),
        ((2400, 3000, 2500, 2900), "cannot be told from so few. More held-out pairs"),
    ],
)
def test_what_it_says_hangs_on_the_interval(rights, said):
    points = [point(n, right, 4000) for n, right in zip(SIZES, rights, strict=True)]
    words = told(points, fit(points))
    assert said in words
    assert "2,000 rankings would reach" in words


@pytest.mark.parametrize(("steps", "rankings"), [(5, 40), (3, 24), (9, 40)])
def test_rankings_are_those_of_the_steps_that_were_taken(tmp_path, steps, rankings):
    manifest = {
        "stages": {"reward_model": {"rows": 40, "steps": steps}},
        "config": {"reward_model": {"batch_size": 8}},
    }
    (tmp_path / files.MANIFEST).write_text(json.dumps(manifest))
    measured = {"accuracy": 0.75, "interval": [0.6, 0.85], "pairs": 40}
    (tmp_path / files.REWARD_MODEL).write_text(json.dumps(measured))
    assert point_of(tmp_path).rankings == rankings


def test_a_run_without_held_out_pairs_is_no_point(tmp_path):
    manifest = {
        "stages": {"reward_model": {"rows": 40, "steps": 5}},
        "config": {"reward_model": {"batch_size": 8}},
    }
    (tmp_path / files.MANIFEST).write_text(json.dumps(manifest))
    assert point_of(tmp_path) is None
    measured = {"accuracy": 0.75, "interval": [0.6, 0.85], "pairs": 40}
    (tmp_path / files.REWARD_MODEL).write_text(json.dumps(measured))
    assert point_of(tmp_path) == Point(rankings=40, accuracy=0.75, low=0.6, high=0.85, pairs=40)


def test_what_is_written_is_what_was_said(tmp_path):
    points = [point(n, right, 400) for n, right in zip(SIZES, (230, 262, 275, 301), strict=True)]
    gain = fit(points)
    kept = json.loads(write_curve(tmp_path, points, gain).read_text())
    assert (tmp_path / CURVE).is_file()
    assert [entry["rankings"] for entry in kept["points"]] == list(SIZES)
    assert kept["told"] == told(points, gain)
    assert kept["gain"]["gain"] == gain.gain
