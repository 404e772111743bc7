"""Group: one role on one or many ranks, spoken to as if it were one object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from rlhf.algo.minibatch import shares
from rlhf.engine.world import World
from rlhf.flow.promise import Promise
from rlhf.flow.tensors import TensorBatch

A = TypeVar("A")
R = TypeVar("R")

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

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> Promise[list[Any]]:
        """Call a method on every rank, rank r with arguments[r]; answers in rank order."""
        ...

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call a method that yields on every rank, rank r with arguments[r].

        Gives (rank, answer) of what was yielded, some at a time; all of it at the end where other
        roles can do nothing in the meantime.
        """
        ...

    def close(self) -> None:
        """End the ranks."""
        ...


@dataclass(frozen=True, slots=True)
class Then(Generic[A, R]):
    """A promise whose answer is passed through a function."""

    promise: Promise[A]
    change: Callable[[A], R]

    def result(self) -> R:
        """Wait, change, return."""
        return self.change(self.promise.result())


def on_every_rank(group: Group, method: str, *arguments: object) -> Promise[Any]:
    """Call with the same arguments everywhere; the first rank's answer speaks for all."""
    calls = group.call(method, [arguments] * group.size)
    return Then(calls, lambda answers: answers[0])


def over_ranks(
    group: Group, method: str, batch: TensorBatch, lengths_B: Tensor, *arguments: object
) -> Promise[list[Any]]:
    """Deal rows over ranks by length; give the ranks' answers, and the rows each one had."""
    rows = shares(lengths_B, group.size)
    return group.call(method, [(batch.select(share), *arguments) for share in rows])


def row_order(lengths_B: Tensor, num_ranks: int) -> Tensor:
    """Return where each row stands once the ranks' answers are joined."""
    return torch.cat(shares(lengths_B, num_ranks)).argsort()
