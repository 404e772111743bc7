"""report_rankings: accuracy, calibration and length, against numbers counted by hand."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.text import Rankings
from rlhf.stages.reward_report import report_rankings


def rankings(lengths: list[list[int]], margins: list[float]) -> Rankings:
    lengths_BK = torch.tensor(lengths)
    return Rankings(
        tokens_BKT=torch.zeros(*lengths_BK.shape, int(lengths_BK.max()), dtype=torch.long),
        lengths_BK=lengths_BK,
        margin_B=torch.tensor(margins),
    )


def test_every_pair_of_every_row_counts_and_a_tie_counts_half():
    rows = rankings([[3, 2, 1], [1, 2, 0]], [0.0, 0.0])
    report = report_rankings(torch.tensor([[3.0, 2.0, 2.0], [0.0, 1.0, 9.0]]), rows)
    assert report["pairs"] == 4
    assert report["accuracy"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    low, high = report["interval"]
    assert 0 <= low < report["accuracy"] < high <= 1


def test_the_length_baseline_is_the_better_of_long_and_short():
    shorter_wins = rankings([[1, 5]] * 4, [0.0] * 4)
    report = report_rankings(torch.zeros(4, 2), shorter_wins)
    assert report["length_baseline_accuracy"] == 1.0


def test_groups_are_by_margin_and_missing_when_nothing_varies():
    rows = rankings([[2, 2]] * 8, [float(m) for m in range(8)])
    scores_BK = torch.tensor([[0.0, 1.0]] * 4 + [[1.0, 0.0]] * 4)
    report = report_rankings(scores_BK, rows)
    assert [group["accuracy"] for group in report["by_margin"]] == [0, 0, 1, 1]
    assert report["by_margin"][0]["label"] == "0 to 1"
    assert report["by_length_difference"] == []


def test_a_sure_and_right_model_is_calibrated():
    rows = rankings([[2, 2]] * 5, [0.0] * 5)
    right = report_rankings(torch.tensor([[30.0, 0.0]] * 5), rows)
    wrong = report_rankings(torch.tensor([[0.0, 30.0]] * 5), rows)
    assert right["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert wrong["calibration_error"] == pytest.approx(1, abs=1e-6)
