"""Problems: many faults of the data, gathered so that one error tells them all."""

from __future__ import annotations

from rlhf.errors import DataError

SHOWN = 20


class Problems:
    """A list of `file:line: reason` that becomes one DataError."""

    def __init__(self, subject: str) -> None:
        """Start empty; subject says what is being read."""
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
