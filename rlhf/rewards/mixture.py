"""A weighted sum of several scores of the same responses."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.errors import DataError


def weighted_sum(parts: Sequence[tuple[float, Sequence[float]]]) -> list[float]:
    """Return, a response, the sum over parts of weight * score.

    Args:
        parts: A weight and one score a response, for each source of scores.

    Raises:
        DataError: when there is no part, or the parts differ in length.
    """
    lengths = [len(scores) for _, scores in parts]
    if len(set(lengths)) != 1:
        raise DataError(
            f"a weighted sum needs one or more lists of scores of one length, got {lengths}"
        )
    rows = zip(*(scores for _, scores in parts), strict=True)
    weights = [weight for weight, _ in parts]
    return [sum(w * score for w, score in zip(weights, row, strict=True)) for row in rows]
