"""Group: the protocol of one role on one or many ranks, called rank by rank."""

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
        """Build the role on every rank; a role built before is dropped first."""
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

        Yields (rank, answer) pairs as they arrive; all of them at the end where no other role
        could work in the meantime.
        """
        ...

    def close(self) -> None:
        """End the processes of the ranks."""
        ...
