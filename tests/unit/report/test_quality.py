"""The reward model's section: every figure of reward_model.json is where a reader looks for it."""

from __future__ import annotations

import json
import re

from rlhf.observe import files
from rlhf.report import write_report

GROUP = {"label": "1 to 2", "accuracy": 0.81, "count": 40, "interval": [0.66, 0.9]}
QUALITY = {
    "accuracy": 0.72,
    "interval": [0.7, 0.75],
    "pairs": 100,
    "length_baseline_accuracy": 0.55,
    "length_baseline_prefers": "shorter",
    "calibration_error": 0.031,
    "bins": [
        {"confidence": 0.55, "accuracy": 0.58, "count": 40},
        {"confidence": 0.95, "accuracy": 0.9, "count": 60},
    ],
    "by_margin": [GROUP],
    "by_ranks_apart": [],
    "by_length_difference": [GROUP],
    "by_score_gap": [GROUP],
}


def page(run, **changes):
    """Return the report of a run of a reward model alone."""
    row = {"stage": "reward_model", "step": 0, "time": 0.0, "metrics": {"loss/train": 0.7}}
    files.append_rows(run / files.METRICS, [row])
    (run / files.REWARD_MODEL).write_text(json.dumps({**QUALITY, **changes}))
    return write_report(run).read_text(encoding="utf-8").replace("\u00a0", " ")


def test_accuracy_interval_and_the_length_baseline_stand_together(tmp_path):
    # correctness 20
    html = page(tmp_path)
    text = re.sub(r"<[^>]+>", " ", html)
    assert "100 pairs it never saw." in text
    assert "Always preferring the shorter answer would reach 55 %." in text
    assert "off by 3.1 points" in text
    assert "of held-out pairs ranked as people did: 72 %, 95 % interval 70\u201375 %" in html


def test_the_reliability_plot_has_a_dot_a_bin_and_the_diagonal(tmp_path):
    # correctness 20: dots below the dashed diagonal are overconfident.
    html = page(tmp_path)
    figure = html[html.index("Confidence and truth") :]
    figure = figure[: figure.index("</figure>")]
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="([\d.]+)"', figure)
    assert len(dots) == 2
    (x, y, r), (right, top, larger) = ([float(v) for v in dot] for dot in dots)
    assert x < right and y > top and r < larger
    assert 'class="level"' in figure
    assert "says 95 %, is right 90 % of 60" in html


def test_breakdowns_have_their_intervals_and_empty_ones_are_left_out(tmp_path):
    # correctness 20: by margin, and by length difference.
    html = page(tmp_path)
    assert "Accuracy by margin" in html
    assert "Accuracy by length difference" in html
    assert "Accuracy by ranks apart" not in html
    assert "Accuracy by score difference" not in html
    assert html.count("66\u201390") == 2


def test_without_margins_the_models_own_certainty_is_shown(tmp_path):
    html = page(tmp_path, by_margin=[], by_ranks_apart=[GROUP])
    assert "Accuracy by margin" not in html
    assert "Accuracy by score difference" in html
    assert "Accuracy by ranks apart" in html
