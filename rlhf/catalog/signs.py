"""Signs of trouble in the values of a metric, each watched step by step in constant time and space.

A sign sees the finite metrics of one step after the other; a step without its metric is skipped.
What it has found are the values for the line of its alarm.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import fmean, median
from typing import Final, Protocol

WINDOW: Final = 5
"""Steps averaged at either end, so that one odd batch raises nothing."""

Step = Mapping[str, float]
"""The finite metrics of one step, by name."""
Found = Mapping[str, float | str]
"""The values that fill the line of an alarm."""


class Sign(Protocol):
    """One sign, watched in one stage of one run."""

    def see(self, step: Step) -> None:
        """Look at the next step."""
        ...

    def found(self) -> Found | None:
        """Return what there is to say after the steps seen so far; None while all is well."""
        ...


class Recent:
    """The mean of the last WINDOW steps is beyond a limit; finds `now`, `limit` and `after`."""

    def __init__(
        self,
        metric: str,
        *,
        above: float | None = None,
        below: float | None = None,
        after_steps: int = 0,
    ) -> None:
        """Watch a metric; not before `after_steps` steps of the stage were seen."""
        self._metric, self._above, self._below = metric, above, below
        self._after_steps, self._steps = after_steps, 0
        self._last: deque[float] = deque(maxlen=WINDOW)

    def see(self, step: Step) -> None:
        """Look at the next step."""
        self._steps += 1
        if self._metric in step:
            self._last.append(step[self._metric])

    def found(self) -> Found | None:
        """Return the mean, the limit it is beyond and the steps it had to wait for, or None."""
        if len(self._last) < WINDOW or self._steps < self._after_steps:
            return None
        now = fmean(self._last)
        if self._above is not None and now > self._above:
            return {"now": now, "limit": self._above, "after": self._after_steps}
        if self._below is not None and now < self._below:
            return {"now": now, "limit": self._below, "after": self._after_steps}
        return None


class _Ends:
    """The mean of the first and of the last WINDOW steps of a metric."""

    def __init__(self, metric: str, *, by: float) -> None:
        """Watch a metric; `by` is the share of its first mean that it may move."""
        self._metric, self._by = metric, by
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)
        self._count = 0

    def see(self, step: Step) -> None:
        """Look at the next step."""
        if self._metric not in step:
            return
        self._count += 1
        self._last.append(step[self._metric])
        if len(self._first) < WINDOW:
            self._first.append(step[self._metric])

    def _ends(self) -> tuple[float, float] | None:
        """Return both means; None before there are two windows, or where the first is not > 0."""
        if self._count < 2 * WINDOW or (first := fmean(self._first)) <= 0:
            return None
        return first, fmean(self._last)


class Fell(_Ends):
    """The last mean is a share below the first; finds `first` and `last`."""

    def found(self) -> Found | None:
        """Return both means, or None."""
        ends = self._ends()
        if ends is None or ends[1] >= (1 - self._by) * ends[0]:
            return None
        return {"first": ends[0], "last": ends[1]}


class Drifted(_Ends):
    """The last mean is a share away from the first, either way; finds `first`, `last`, `change`.

    The change is in percent of the first.
    """

    def found(self) -> Found | None:
        """Return both means and the change, or None."""
        ends = self._ends()
        if ends is None or abs(change := ends[1] / ends[0] - 1) <= self._by:
            return None
        return {"first": ends[0], "last": ends[1], "change": 100 * change}


class Still:
    """A metric stays near 0 while the learning rate is high; finds `now`, `steps`, `limit`, `at`.

    `at` tells the rate where it is known. At under half of the highest rate a schedule ends, and
    nothing is wrong.
    """

    def __init__(self, metric: str, *, limit: float, steps: int, rate: str) -> None:
        """Watch a metric and the learning rate of this name."""
        self._metric, self._rate, self._limit = metric, rate, limit
        self._last: deque[float] = deque(maxlen=steps)
        self._rates: deque[float] = deque(maxlen=steps)
        self._highest = float("-inf")

    def see(self, step: Step) -> None:
        """Look at the next step."""
        if self._metric in step:
            self._last.append(step[self._metric])
        if self._rate in step:
            self._rates.append(step[self._rate])
            self._highest = max(self._highest, step[self._rate])

    def found(self) -> Found | None:
        """Return the median and the steps it is of, or None."""
        steps = self._last.maxlen or 0
        if len(self._last) < steps or (now := median(self._last)) >= self._limit:
            return None
        if self._rates and fmean(self._rates) < self._highest / 2:
            return None
        at = f" (it is {self._rates[-1]:.2g})" if self._rates else ""
        return {"now": now, "steps": steps, "limit": self._limit, "at": at}


class Negative:
    """A metric is below 0 for many steps, and below a limit on average; finds `now`, `steps`."""

    def __init__(self, metric: str, *, limit: float, steps: int) -> None:
        """Watch a metric over its last `steps` values."""
        self._metric, self._limit = metric, limit
        self._last: deque[float] = deque(maxlen=steps)

    def see(self, step: Step) -> None:
        """Look at the next step."""
        if self._metric in step:
            self._last.append(step[self._metric])

    def found(self) -> Found | None:
        """Return the mean and the steps it is of, or None."""
        steps = self._last.maxlen or 0
        if len(self._last) < steps or max(self._last) >= 0:
            return None
        now = fmean(self._last)
        return {"now": now, "steps": steps} if now < self._limit else None


class Jumped:
    """The 3-step mean rose by many spreads within a few steps, ever; finds the steepest rise.

    `gain` is the rise, `last` the mean it ended at, `spread` what a batch spreads at the start.
    """

    def __init__(self, metric: str, *, spread: str, spreads: float, steps: int) -> None:
        """Watch a metric; `spread` is the metric of its standard deviation within a batch."""
        self._metric, self._spread, self._spreads, self._steps = metric, spread, spreads, steps
        self._values: deque[float] = deque(maxlen=3)
        self._means: deque[float] = deque(maxlen=steps - 1)
        self._first_spreads: list[float] = []
        self._count, self._steepest = 0, (float("-inf"), 0.0)

    def see(self, step: Step) -> None:
        """Look at the next step."""
        if self._spread in step and len(self._first_spreads) < WINDOW:
            self._first_spreads.append(step[self._spread])
        if self._metric not in step:
            return
        self._count += 1
        self._values.append(step[self._metric])
        if len(self._values) == 3:
            mean = fmean(self._values)
            rises = ((mean - earlier, mean) for earlier in self._means)
            self._steepest = max(self._steepest, *rises) if self._means else self._steepest
            self._means.append(mean)

    def found(self) -> Found | None:
        """Return the steepest rise, or None before there are two windows."""
        if self._count < 2 * WINDOW or not self._first_spreads:
            return None
        spread, (gain, last) = fmean(self._first_spreads), self._steepest
        if spread <= 0 or gain <= self._spreads * spread:
            return None
        return {"gain": gain, "last": last, "spread": spread, "steps": self._steps}
