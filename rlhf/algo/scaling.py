"""The divisor of scores before they become rewards, so that their spread stays near 1.

The mean is never subtracted: that would turn a good score into a penalty, and with KL in the
reward it would move the optimum (Zheng et al. 2023, "Secrets of RLHF", PPO-max).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from rlhf.errors import TrainingError


class ScoreScale(Protocol):
    """Brings each step's scores to a scale, and may learn it from them."""

    def scale(self, score_B: Tensor) -> Tensor:
        """Add the step's scores, all ranks' together, to the state, and return them scaled."""
        ...

    def state(self) -> dict[str, float]:
        """Return the state that a checkpoint must keep."""
        ...

    def load(self, state: Mapping[str, float]) -> None:
        """Restore what `state` returned."""
        ...


class NoScale:
    """Leaves scores as they are."""

    def scale(self, score_B: Tensor) -> Tensor:
        """Return the scores themselves."""
        return score_B

    def state(self) -> dict[str, float]:
        """Return an empty state."""
        return {}

    def load(self, state: Mapping[str, float]) -> None:
        """Restore nothing: there is no state."""


class RunningScale:
    """Divides by the biased standard deviation of all scores so far, the present ones included.

    Scores are added one by one (Welford 1962) in float64, so that how they are cut into batches
    changes no bit of the state.
    """

    def __init__(self) -> None:
        """Start without any score."""
        self._count = 0.0
        self._mean = 0.0
        self._square_sum = 0.0

    def scale(self, score_B: Tensor) -> Tensor:
        """Add the scores and return them divided by the deviation; by 1 while that is 0.

        Args:
            score_B: One number a response, any float dtype.

        Returns:
            Scores of the same shape and dtype.

        Raises:
            TrainingError: when a score is not finite; the state is then as before.
        """
        scores: list[float] = score_B.double().tolist()
        for row, score in enumerate(scores):
            if not math.isfinite(score):
                raise TrainingError(
                    f"score={score} in row {row}; a running scale needs finite scores; "
                    "check the reward model or reward function that returned it"
                )
        for score in scores:
            self._observe(score)
        deviation = math.sqrt(self._square_sum / self._count) if self._count else 0.0
        return (score_B.double() / (deviation or 1.0)).to(score_B.dtype)

    def _observe(self, score: float) -> None:
        self._count += 1.0
        change = score - self._mean
        self._mean += change / self._count
        self._square_sum += change * (score - self._mean)

    def state(self) -> dict[str, float]:
        """Return the number of scores, their mean, and their squared distances from it summed."""
        return {"count": self._count, "mean": self._mean, "square_sum": self._square_sum}

    def load(self, state: Mapping[str, float]) -> None:
        """Restore the moments that `state` returned."""
        self._count = state["count"]
        self._mean = state["mean"]
        self._square_sum = state["square_sum"]
