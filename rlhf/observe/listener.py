"""Listener: a function of the caller's that hears every step of the runs of its thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, Mapping[str, float]], None]
"""Called with stage, step and metrics, once a step is recorded; what it raises ends the run."""

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Let a function hear every step that is recorded in this thread meanwhile."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def tell(stage: str, step: int, metrics: Mapping[str, float]) -> None:
    """Tell the listener, if there is one, of a step."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(stage, step, metrics)
