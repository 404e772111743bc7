"""Group: one role on one or many ranks; what each rank is asked, and what each answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from rlhf.engine.world import World
from rlhf.flow.future import Future
from rlhf.roles.remote import UNMARKED, Remote

Build = Callable[[World], object]
"""Makes the role object on one rank; must pickle."""


class Group(Protocol):
    """The ranks of one role."""

    name: str
    """The role's name, for messages and the timeline."""
    size: int
    """Number of ranks."""

    def become(self, build: Build) -> None:
        """Make the role anew on every rank; what was there before is dropped first."""
        ...

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Future[list[Any]]:
        """Call a method on every rank, rank r with arguments[r]; answers in rank order."""
        ...

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call a method that yields on every rank, rank r with arguments[r].

        Gives (rank, answer) of what was yielded, some at a time; all of it at the end where other
        roles can do nothing in the meantime.
        """
        ...

    def close(self) -> None:
        """End the ranks."""
        ...
