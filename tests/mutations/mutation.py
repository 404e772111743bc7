"""Mutation: one known way to break the code, as one change of text."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class MutationError(Exception):
    """A mutation does not fit the code any more, or the runner cannot start."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug that somebody published, put into one file of the package."""

    name: str
    """Short, in words joined by hyphens."""
    why: str
    """Which bug it is, in one clause."""
    file: str
    """Path from the top of the checkout."""
    old: str
    """Text that stands exactly once in the file."""
    new: str
    """What takes its place."""
    tests: tuple[str, ...]
    """Smallest selection that is to catch it: files, or single tests."""

    def apply(self, root: Path = ROOT) -> tuple[str, str]:
        """Return the file's text before and after.

        Raises:
            MutationError: when the old text does not stand exactly once, or the new one is no code.
        """
        before = (root / self.file).read_text(encoding="utf-8")
        found = before.count(self.old)
        if found != 1:
            raise MutationError(
                f"{self.name}: {self.old!r} stands {found} times in {self.file}; it must stand "
                "once; write the mutation anew for the code as it is"
            )
        after = before.replace(self.old, self.new)
        try:
            same = ast.dump(ast.parse(before)) == ast.dump(ast.parse(after))
        except SyntaxError as error:
            raise MutationError(f"{self.name}: {self.new!r} is no code: {error}") from error
        if same:
            raise MutationError(f"{self.name}: {self.new!r} changes nothing that runs")
        return before, after
