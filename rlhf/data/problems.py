"""Problems: many faults of the data, collected so that one error reports them all; and warnings."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rlhf.errors import DataError

SHOWN = 20


class Problems:
    """A list of `file:line: reason` that becomes one DataError."""

    def __init__(self, subject: str) -> None:
        """Start empty; subject names what is being read."""
        self._subject = subject
        self._lines: list[str] = []

    def __len__(self) -> int:
        """Return how many problems there are."""
        return len(self._lines)

    def add(self, where: str, reason: object) -> None:
        """Note one problem."""
        self._lines.append(f"{where}: {reason}")

    def check(self) -> None:
        """Raise when anything was noted.

        Raises:
            DataError: the first 20 problems, a line each, and the total count.
        """
        if not self._lines:
            return
        count = len(self._lines)
        head = f"{count} problem{'s' if count > 1 else ''} in {self._subject}"
        if count > SHOWN:
            head += f", the first {SHOWN} are"
        raise DataError("\n".join([f"{head}:", *self._lines[:SHOWN]]))


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def heard(room: str = "rlhf.data.encode") -> Iterator[list[str]]:
    """Yield the list that collects warnings about rows while this is open, for a run to show."""
    listener, logger = _Listener(), logging.getLogger(room)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield listener.lines
    finally:
        logger.removeHandler(listener)
        logger.propagate = before
