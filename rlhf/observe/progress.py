"""Progress: how far a stage is, how long it will still take, and its latest figures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlhf.observe.figures import live_figures
from rlhf.observe.numbers import duration, finite

STEPS_TIMED: Final = 31
"""Latest steps whose median predicts the rest: one slow checkpoint moves nothing."""


class Progress:
    """The state of one stage; renders itself for `rich`."""

    def __init__(
        self, stage: str, total: int, first_step: int, earlier: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """Start at first_step of total steps, now; `earlier` has the figures of steps before it."""
        self.stage, self.total, self.done = stage, total, first_step
        known = [{k: v for k, x in row.items() if (v := finite(x)) is not None} for row in earlier]
        self.first: dict[str, float] = {k: v for row in reversed(known) for k, v in row.items()}
        self.last: dict[str, float] = {k: v for row in known for k, v in row.items()}
        self.earlier_s = sum(row.get("time/step_s", 0.0) for row in known)
        """Seconds that the steps before first_step took."""
        self._started = self._latest = time.monotonic()
        self._step_seconds: deque[float] = deque(maxlen=STEPS_TIMED)

    def record(self, step: int, values: Mapping[str, float], now: float) -> None:
        """Add the figures of one step; `now` is monotonic seconds.

        A step may be recorded twice (training, then validation): it is counted and timed once.
        """
        self.first = {**values, **self.first}
        self.last = {**self.last, **values}
        if step + 1 > self.done:
            self._step_seconds.append((now - self._latest) / (step + 1 - self.done))
            self.done, self._latest = step + 1, now

    def elapsed(self, now: float) -> float:
        """Return the seconds of the whole stage, an interruption left out."""
        return self.earlier_s + now - self._started

    def remaining(self) -> float | None:
        """Return the seconds to the end; None before the first step."""
        if not self._step_seconds:
            return None
        return median(self._step_seconds) * max(0, self.total - self.done)

    def line(self) -> str:
        """Return the state as one plain line."""
        figures = [f"{label} {value}" for label, value in live_figures(self.stage, self.last)]
        return "  ".join([f"{self.stage}  {self.done}/{self.total}", *figures, self._eta()])

    def __rich__(self) -> Table:
        """Return the live display: the bar, and the figures below it."""
        bar = Table.grid(padding=(0, 2))
        bar.add_row(
            ProgressBar(total=max(1, self.total), completed=self.done, width=32),
            Text(f"{self.done}/{self.total}", "bold"),
            Text(self._eta(), "dim"),
        )
        figures = Table.grid(padding=(0, 3))
        pairs = live_figures(self.stage, self.last)
        figures.add_row(*(Text(label, "dim") for label, _ in pairs))
        figures.add_row(*(Text(value, "bold") for _, value in pairs))
        whole = Table.grid()
        whole.add_row(bar)
        whole.add_row(figures)
        return whole

    def _eta(self) -> str:
        left = self.remaining()
        return "" if left is None else f"{duration(left)} left"
