"""Stopwatch: how long each phase of a step took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the seconds of named phases until they are read.

    It reads a monotonic clock, so a clock set back or forward never makes a span negative.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start the first step now.

        Args:
            clock: returns seconds that never decrease.
        """
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._started = clock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block; a phase entered twice in a step counts both times."""
        started = self._clock()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - started

    def lap(self) -> dict[str, float]:
        """Return the step's seconds as `time/<phase>_s` and `time/step_s`; start the next step."""
        now = self._clock()
        seconds = {f"time/{name}_s": spent for name, spent in self._seconds.items()}
        seconds["time/step_s"] = now - self._started
        self._seconds, self._started = {}, now
        return seconds
