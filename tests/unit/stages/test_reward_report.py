"""report_rankings: accuracy, calibration and length, against numbers counted by hand."""

from __future__ import annotations

import math

import pytest
import torch

from rlhf.algo.diagnostics import wilson_interval
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
    # correctness 20: accuracy with its interval.
    rows = rankings([[3, 2, 1], [1, 2, 0]], [0.0, 0.0])
    report = report_rankings(torch.tensor([[3.0, 2.0, 2.0], [0.0, 1.0, 9.0]]), rows)
    assert report["pairs"] == 4
    assert report["accuracy"] == pytest.approx((1 + 1 + 0.5 + 0) / 4)
    low, high = report["interval"]
    assert 0 <= low < report["accuracy"] < high <= 1


def test_the_length_baseline_is_the_better_of_long_and_short():
    # correctness 20: printed beside the accuracy, and which side it is.
    shorter_wins = rankings([[1, 5]] * 4, [0.0] * 4)
    report = report_rankings(torch.zeros(4, 2), shorter_wins)
    assert report["length_baseline_accuracy"] == 1.0
    assert report["length_baseline_prefers"] == "shorter"
    longer_wins = rankings([[5, 1], [5, 1], [1, 5], [2, 2]], [0.0] * 4)
    report = report_rankings(torch.zeros(4, 2), longer_wins)
    assert report["length_baseline_accuracy"] == (1 + 1 + 0 + 0.5) / 4
    assert report["length_baseline_prefers"] == "longer"


def test_the_interval_is_wilsons_where_every_row_is_a_pair():
    # correctness 20
    rows = rankings([[2, 2]] * 20, [0.0] * 20)
    scores_BK = torch.tensor([[1.0, 0.0]] * 15 + [[0.0, 1.0]] * 5)
    report = report_rankings(scores_BK, rows)
    assert report["interval"] == pytest.approx(wilson_interval(15, 20))


def test_pairs_of_one_row_are_not_independent():
    # correctness 20: 40 rows of 6 pairs, each all right or all wrong, count as much as 40 pairs.
    rows = rankings([[2, 2, 2, 2]] * 40, [0.0] * 40)
    sorted_K = torch.arange(4.0)
    scores_BK = torch.stack([-sorted_K] * 30 + [sorted_K] * 10)
    report = report_rankings(scores_BK, rows)
    assert report["pairs"] == 240
    assert report["accuracy"] == 0.75
    assert report["interval"] == pytest.approx(wilson_interval(30, 40))
    perfect = report_rankings(torch.stack([-sorted_K] * 40), rows)
    assert perfect["interval"] == pytest.approx(wilson_interval(40, 40))


def test_groups_are_by_margin_and_missing_when_nothing_varies():
    # correctness 20: by margin.
    rows = rankings([[2, 2]] * 8, [float(m) for m in range(8)])
    scores_BK = torch.tensor([[0.0, 1.0]] * 4 + [[1.0, 0.0]] * 4)
    report = report_rankings(scores_BK, rows)
    assert [group["accuracy"] for group in report["by_margin"]] == [0, 0, 1, 1]
    assert report["by_margin"][0]["label"] == "0 to 1"
    assert report["by_margin"][0]["interval"] == pytest.approx(wilson_interval(0, 2))
    assert report["by_length_difference"] == []
    assert report["by_ranks_apart"] == []


def test_margins_are_of_rows_of_two_and_longer_rows_are_told_by_rank():
    # correctness 20: a margin is how much better the first of two is, no more.
    rows = rankings([[2, 2, 2], [2, 2, 0], [2, 2, 0]], [9.0, 1.0, 2.0])
    report = report_rankings(torch.tensor([[3.0, 2.0, 1.0]] * 3), rows)
    assert [(g["label"], g["count"]) for g in report["by_margin"]] == [("1", 1), ("2", 1)]
    assert [(g["label"], g["count"]) for g in report["by_ranks_apart"]] == [("1", 4), ("2", 1)]


def test_length_differences_keep_their_sign_and_equal_ones_stay_together():
    # correctness 20: a model that likes length is right only where the better answer is longer.
    rows = rankings([[1, 9]] * 3 + [[4, 4]] * 3 + [[9, 1]] * 3, [0.0] * 9)
    scores_BK = rows.lengths_BK.float()
    report = report_rankings(scores_BK, rows)
    found = [(g["label"], g["accuracy"], g["count"]) for g in report["by_length_difference"]]
    assert found == [("-8", 0.0, 3), ("0", 0.5, 3), ("8", 1.0, 3)]
    many = rankings([[1, 1 + n // 3] for n in range(30)], [0.0] * 30)
    found = report_rankings(torch.zeros(30, 2), many)["by_length_difference"]
    assert len(found) == 4
    assert sum(group["count"] for group in found) == 30
    ends = [end for group in found for end in group["label"].split(" to ")]
    assert len(set(ends)) == len(ends)


def test_the_model_is_more_often_right_where_it_is_sure():
    rows = rankings([[2, 2]] * 8, [0.0] * 8)
    scores_BK = torch.tensor([[0.1, 0.0], [0.0, 0.1]] * 2 + [[5.0, 0.0]] * 4)
    found = report_rankings(scores_BK, rows)["by_score_gap"]
    assert [(g["label"], g["accuracy"]) for g in found] == [("0.1", 0.5), ("5", 1.0)]


def test_the_reliability_bins_are_of_the_answer_the_model_prefers():
    # correctness 20: 8 pairs at 3 : 1 by the model; people agree 6 times, so the error is 0.
    rows = rankings([[2, 2]] * 8, [0.0] * 8)
    gap = math.log(3)
    report = report_rankings(torch.tensor([[gap, 0.0]] * 6 + [[0.0, gap]] * 2), rows)
    assert report["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert len(report["bins"]) == 1
    assert report["bins"][0]["confidence"] == pytest.approx(0.75)
    assert report["bins"][0]["accuracy"] == 0.75
    assert report["bins"][0]["count"] == 8


def test_a_sure_and_right_model_is_calibrated():
    rows = rankings([[2, 2]] * 5, [0.0] * 5)
    right = report_rankings(torch.tensor([[30.0, 0.0]] * 5), rows)
    wrong = report_rankings(torch.tensor([[0.0, 30.0]] * 5), rows)
    assert right["calibration_error"] == pytest.approx(0, abs=1e-6)
    assert wrong["calibration_error"] == pytest.approx(1, abs=1e-6)
