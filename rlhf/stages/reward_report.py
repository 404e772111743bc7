"""What a trained reward model is worth: accuracy, calibration, and what length alone would give.

Axes: B rows, K ranked answers; pairs are all (better, worse) of a row.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import exp

from torch import Tensor

from rlhf.algo.diagnostics import calibration_error, wilson_interval
from rlhf.flow.text import Rankings

NUM_GROUPS = 4


def report_rankings(scores_BK: Tensor, rankings: Rankings) -> dict[str, object]:
    """Return the figures of RUN/reward_model.json, over every pair of every row.

    A pair is right when the answer ranked better scores higher; a tie counts half.
    """
    pairs = _pairs(scores_BK, rankings)
    right = [_right(gap) for gap, _, _ in pairs]
    accuracy = sum(right) / len(right)
    by_length = sum(_right(length) for _, length, _ in pairs) / len(pairs)
    confident = [_confidence(gap) for gap, _, _ in pairs]
    calibration = calibration_error(
        [probability for probability, _ in confident], [hit for _, hit in confident]
    )
    return {
        "accuracy": accuracy,
        "interval": list(wilson_interval(sum(right), len(right))),
        "pairs": len(right),
        "length_baseline_accuracy": max(by_length, 1 - by_length),
        "calibration_error": calibration.error,
        "bins": [
            {"confidence": b.mean_probability, "accuracy": b.mean_outcome, "count": b.count}
            for b in calibration.bins
            if b.count
        ],
        "by_margin": _grouped(pairs, lambda pair: pair[2]),
        "by_length_difference": _grouped(pairs, lambda pair: abs(pair[1])),
    }


Pair = tuple[float, float, float]
"""(score gap, length gap in tokens, labeller's margin) of a better and a worse answer."""


def _pairs(scores_BK: Tensor, rankings: Rankings) -> list[Pair]:
    scores, lengths = scores_BK.tolist(), rankings.lengths_BK.tolist()
    margins = rankings.margin_B.tolist()
    return [
        (scores[row][i] - scores[row][j], lengths[row][i] - lengths[row][j], margins[row])
        for row in range(len(rankings))
        for i, j in combinations([k for k, n in enumerate(lengths[row]) if n], 2)
    ]


def _right(gap: float) -> float:
    return 0.5 if gap == 0 else float(gap > 0)


def _confidence(gap: float) -> tuple[float, float]:
    """Return the model's probability for the answer it prefers, and whether people agree."""
    return 1 / (1 + exp(-min(abs(gap), 30.0))), _right(gap)


def _grouped(pairs: list[Pair], key: Callable[[Pair], float]) -> list[dict[str, object]]:
    """Return accuracy by quartile of a key; empty when the key never varies."""
    ordered = sorted(pairs, key=key)
    if key(ordered[0]) == key(ordered[-1]):
        return []
    size = -(-len(ordered) // NUM_GROUPS)
    groups = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return [
        {
            "label": f"{key(group[0]):.3g} to {key(group[-1]):.3g}",
            "accuracy": sum(_right(gap) for gap, _, _ in group) / len(group),
            "count": len(group),
        }
        for group in groups
    ]
