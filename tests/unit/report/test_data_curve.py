"""A doubling's gain is numpy's slope, its interval holds the truth, the report says both."""

from __future__ import annotations

import json
import math
import random
import re

import numpy as np
import pytest

from rlhf.observe import files
from rlhf.report import write_report
from rlhf.report.data_curve import first_pass, gain_of
from rlhf.report.read import read_run

BATCH = 32


def steps(slope, seed, count=400):
    """A first pass in which accuracy is 0.6 at 100 rankings, and so much more for each doubling."""
    draw = random.Random(seed)
    found = []
    for step in range(count):
        seen = step * BATCH
        truth = 0.6 + slope * math.log2(max(seen, 100) / 100)
        found.append((seen, sum(draw.random() < truth for _ in range(BATCH)) / BATCH))
    return found


def test_the_slope_is_that_of_numpy():
    points = steps(0.03, 0)
    late = [(n, a) for n, a in points if n >= points[-1][0] / 8]
    slope, level = np.polyfit(np.log2([n for n, _ in late]), [a for _, a in late], 1)
    found = gain_of(points, BATCH)
    assert found is not None
    assert found.gain == pytest.approx(slope)
    assert found.at(5000) == pytest.approx(level + slope * math.log2(5000))


@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_about_95_percent_of_the_intervals_hold_the_truth(slope):
    held = 0
    for seed in range(200):
        found = gain_of(steps(slope, seed, 200), BATCH)
        assert found is not None
        held += found.low <= slope <= found.high
    assert 180 <= held <= 199


def test_few_steps_say_nothing():
    assert gain_of(steps(0.03, 0, 15), BATCH) is None
    assert gain_of([], BATCH) is None


def written(run, points, **settings):
    rows = [
        {"stage": "reward_model", "step": s, "time": 0.0, "metrics": {"accuracy/train": a}}
        for s, (_, a) in enumerate(points)
    ]
    files.append_rows(run / files.METRICS, rows)
    (run / files.REWARD_MODEL).write_text(json.dumps({"accuracy": 0.7, "interval": [0.6, 0.8]}))
    config = {
        "reward_model": {"batch_size": BATCH, "num_epochs": 1.0, **settings},
        "data": {"preferences": "p.jsonl"},
    }
    manifest = {"config": config, "data": {"p.jsonl": {"rows": 100 * BATCH}}}
    (run / files.MANIFEST).write_text(json.dumps(manifest))


def test_of_several_epochs_the_first_counts(tmp_path):
    points = steps(0.03, 0)
    written(tmp_path, points, num_epochs=4.0)
    assert first_pass(read_run(tmp_path), BATCH) == points[:100]


@pytest.mark.parametrize(
    ("slope", "said"),
    [
        (0.04, "Twice as many would bring about as much again"),
        (0.0, "cannot be told|less than one"),
    ],
)
def test_the_report_says_what_twice_as_many_would_bring(slope, said, tmp_path):
    points = steps(slope, 2)
    written(tmp_path, points)
    page = write_report(tmp_path).read_text(encoding="utf-8").replace("\u00a0", " ")
    text = re.sub(r"<[^>]+>", " ", page)
    assert re.search(said, text)
    found = gain_of(points, BATCH)
    assert found is not None
    assert f"From {found.first:,.0f} to {found.last:,.0f} rankings" in text
    assert "Accuracy by rankings learned from" in page
