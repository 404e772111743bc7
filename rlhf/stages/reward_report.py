"""How good a trained reward model is: accuracy, calibration, and what length alone would give.

Axes: B rows, K ranked answers; pairs are all (better, worse) of a row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp

from torch import Tensor

from rlhf.algo.diagnostics import calibration_error, wilson_interval
from rlhf.flow.text import Rankings

NUM_GROUPS = 4
"""Groups a breakdown has at most: quarters of the pairs, equal keys together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A better and a worse answer to one prompt."""

    row: int
    score_gap: float
    """Score of the better answer less that of the worse one."""
    length_gap: float
    """The same of their lengths, in tokens."""
    ranks_apart: float
    """Ranks between them: 1 for neighbours."""
    margin: float | None
    """The labeller's; only a row of two answers has one."""

    @property
    def right(self) -> float:
        """1 when the better answer scores higher, 1/2 for a tie."""
        return _order(self.score_gap)


def report_rankings(scores_BK: Tensor, rankings: Rankings) -> dict[str, object]:
    """Return the figures of RUN/reward_model.json, over every pair of every row.

    Scores are not yet normalised, so that a sigmoid of their difference is a probability. The
    length baseline is the better of always preferring the longer and always the shorter answer.
    """
    pairs = _pairs(scores_BK, rankings)
    by_length = sum(_order(pair.length_gap) for pair in pairs) / len(pairs)
    return {
        **_accuracy(pairs),
        "pairs": len(pairs),
        "length_baseline_accuracy": max(by_length, 1 - by_length),
        "length_baseline_prefers": "longer" if by_length >= 0.5 else "shorter",
        **_calibration(pairs),
        "by_margin": _grouped(pairs, lambda pair: pair.margin),
        "by_ranks_apart": _grouped(pairs, lambda pair: pair.ranks_apart),
        "by_length_difference": _grouped(pairs, lambda pair: pair.length_gap),
        "by_score_gap": _grouped(pairs, lambda pair: abs(pair.score_gap)),
    }


def _pairs(scores_BK: Tensor, rankings: Rankings) -> list[Pair]:
    scores, lengths = scores_BK.tolist(), rankings.lengths_BK.tolist()
    margins = rankings.margin_B.tolist()
    found: list[Pair] = []
    for row, margin in enumerate(margins):
        present = [k for k, length in enumerate(lengths[row]) if length]
        found += [
            Pair(
                row=row,
                score_gap=scores[row][i] - scores[row][j],
                length_gap=lengths[row][i] - lengths[row][j],
                ranks_apart=j - i,
                margin=margin if len(present) == 2 else None,
            )
            for i, j in combinations(present, 2)
        ]
    return found


def _order(gap: float) -> float:
    return 0.5 if gap == 0 else float(gap > 0)


def _accuracy(pairs: Sequence[Pair]) -> dict[str, object]:
    """Return accuracy with its 95 % interval (Wilson 1927), over rows.

    Pairs of one row share answers and are right or wrong together, so they count as fewer: by the
    variance that sums over rows have, against that of as many independent pairs.
    """
    accuracy = sum(pair.right for pair in pairs) / len(pairs)
    excess: dict[int, float] = {}
    for pair in pairs:
        excess[pair.row] = excess.get(pair.row, 0.0) + pair.right - accuracy
    square = sum(value * value for value in excess.values())
    alone = len(pairs) * accuracy * (1 - accuracy)
    # All right or all wrong: how alike pairs of a row are is unknown, so a row counts as one.
    count = min(len(pairs), round(len(pairs) * alone / square)) if square else len(excess)
    return {
        "accuracy": accuracy,
        "interval": list(wilson_interval(accuracy * count, count)),
    }


def _calibration(pairs: Sequence[Pair]) -> dict[str, object]:
    """Return the error and the reliability diagram of the answer the model prefers."""
    found = calibration_error(
        [1 / (1 + exp(-min(abs(pair.score_gap), 30.0))) for pair in pairs],
        [pair.right for pair in pairs],
    )
    return {
        "calibration_error": found.error,
        "bins": [
            {"confidence": b.mean_probability, "accuracy": b.mean_outcome, "count": b.count}
            for b in found.bins
            if b.count
        ],
    }


def _grouped(pairs: Sequence[Pair], key: Callable[[Pair], float | None]) -> list[dict[str, object]]:
    """Return accuracy by quarter of a key, or by each of few values; empty if it never varies."""
    keyed = [(value, pair) for pair in pairs if (value := key(pair)) is not None]
    values = sorted(value for value, _ in keyed)
    starts = _starts(values)
    if len(starts) < 2:
        return []
    groups: dict[int, list[tuple[float, Pair]]] = {}
    for value, pair in keyed:
        groups.setdefault(bisect_right(starts, value), []).append((value, pair))
    return [
        {
            "label": _label(value for value, _ in groups[index]),
            **_accuracy([pair for _, pair in groups[index]]),
            "count": len(groups[index]),
        }
        for index in sorted(groups)
    ]


def _starts(values: Sequence[float]) -> list[float]:
    """Return the least value of each group; equal values share one."""
    distinct = sorted(set(values))
    if len(distinct) <= NUM_GROUPS:
        return distinct
    return sorted({values[len(values) * group // NUM_GROUPS] for group in range(NUM_GROUPS)})


def _label(values: Iterable[float]) -> str:
    found = list(values)
    low, high = f"{min(found):.3g}", f"{max(found):.3g}"
    return low if low == high else f"{low} to {high}"
