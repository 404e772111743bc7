"""An answer that may still be on its way: local roles answer at once, Ray groups later."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar, cast, runtime_checkable

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@runtime_checkable
class Promise(Protocol[T_co]):
    """An answer under way."""

    def result(self) -> T_co:
        """Wait for the answer and return it; raises what the remote side raised."""
        ...


Eventually: TypeAlias = T | Promise[T]


def settle(answer: T | Promise[T]) -> T:
    """Return the answer, waiting for it if it is still on its way.

    Asking several roles first and settling afterwards lets them work at the same time.
    """
    return cast("T", answer.result()) if isinstance(answer, Promise) else answer
