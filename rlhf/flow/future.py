"""Future: an answer that may still be on its way; local roles answer at once, Ray groups later.

Ask several roles first and take their results afterwards, and they work at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")


class Future(Protocol[T_co]):
    """An answer under way."""

    def result(self) -> T_co:
        """Wait for the answer and return it; raises what the remote side raised."""
        ...


@dataclass(frozen=True, slots=True)
class Ready(Generic[T]):
    """An answer that is there already."""

    answer: T

    def result(self) -> T:
        """Return the answer."""
        return self.answer


@dataclass(frozen=True, slots=True)
class Then(Generic[T, R]):
    """An answer that is passed through a function when it is there."""

    future: Future[T]
    change: Callable[[T], R]

    def result(self) -> R:
        """Wait, change, return."""
        return self.change(self.future.result())
