"""Problems: many faults of the data, collected so that one error reports them all; and warnings."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rlhf.errors import DataError, RLHFError, warned, with_warnings

_log = logging.getLogger(__name__)
T = TypeVar("T")
SHOWN = 20
REASONS = 3
"""Reasons that the count of dropped rows names."""
LONGEST = 600
"""Characters of a reason, which may quote what a file holds."""


class Problems:
    """A list of `file:line: reason` that becomes one DataError, or the count of what is dropped."""

    def __init__(self, subject: str, *, drop: bool = False) -> None:
        """Start empty.

        Args:
            subject: names what is being read.
            drop: rows with a problem are left out (data.invalid=drop).
        """
        self.subject = subject
        self.drop = drop
        self._found: list[tuple[str, str, int]] = []

    def __len__(self) -> int:
        """Return how many problems there are."""
        return len(self._found)

    def add(self, where: str, reason: object, rows: int = 1) -> None:
        """Note one problem: where it is first, and how many rows have it."""
        self._found.append((where, _one_line(str(reason)), rows))

    def check(self, left: int = 0) -> None:
        """Raise when anything was noted; where such rows are dropped, and some are left, warn.

        Args:
            left: rows without a problem.

        Raises:
            DataError: the first 20 problems, a line each, and the total count.
        """
        if not self._found:
            return
        count = len(self._found)
        if self.drop and left:
            self._count(left)
            return
        head = f"{count} problem{'s' if count > 1 else ''} in {self.subject}"
        if count > SHOWN:
            head += f", the first {SHOWN} are"
        lines = [f"{where}: {_liked(reason, rows)}" for where, reason, rows in self._found[:SHOWN]]
        raise DataError("\n".join([f"{head}:", *lines]))

    def _count(self, left: int) -> None:
        """Warn of what is dropped: how many rows for each reason, and where the first one is."""
        rows = Counter[str]()
        first: dict[str, str] = {}
        for where, reason, count in self._found:
            rows[reason] += count
            first.setdefault(reason, where)
        shown = rows.most_common(REASONS)
        listed = [f"{count:,} like {first[reason]} ({reason})" for reason, count in shown]
        others = rows.total() - sum(count for _, count in shown)
        if others:
            listed.append(f"{others:,} for {len(rows) - REASONS:,} other reasons")
        _log.warning(
            "%s: left out %s of %s rows (data.invalid=drop): %s",
            self.subject,
            f"{rows.total():,}",
            f"{left + rows.total():,}",
            ", ".join(listed),
        )


def _liked(reason: str, rows: int) -> str:
    """Return a reason, and how many more rows have the same."""
    return f"{reason} (and {rows - 1:,} more rows like it)" if rows > 1 else reason


def _one_line(text: str) -> str:
    """Return a text, which may quote a file, as one line of bearable length."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line not in self.lines:  # a source may be read twice
            self.lines.append(line)


@contextmanager
def heard(room: str = "rlhf.data") -> Iterator[list[str]]:
    """Yield the list that collects warnings about rows while this is open, for a run to show.

    An error takes them along as its notes, so that both are told together.
    """
    listener, logger = _Listener(), logging.getLogger(room)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(listener)
    try:
        yield listener.lines
    except RLHFError as error:
        raise with_warnings(error, listener.lines)  # noqa: B904 - it is the same error
    finally:
        logger.removeHandler(listener)
        logger.propagate = before


class Faults:
    """Errors of several inputs, collected so that one error tells them all."""

    def __init__(self) -> None:
        """Start empty."""
        self._found: list[RLHFError] = []

    @property
    def lines(self) -> list[str]:
        """All errors, a line each, every line once."""
        return list(dict.fromkeys(line for e in self._found for line in str(e).splitlines()))

    def of(self, look: Callable[[], T]) -> T | None:
        """Return what a function returns; None, and the error kept, where it raises one."""
        try:
            return look()
        except RLHFError as error:
            self._found.append(error)
            return None

    def check(self) -> None:
        """Raise one error of the class of the first, when there is any."""
        if self._found:
            error = type(self._found[0])("\n".join(self.lines))
            notes = [line for each in self._found for line in warned(each)]
            raise with_warnings(error, notes) from self._found[0]
