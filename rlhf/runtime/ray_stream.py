"""Stream: what the ranks of a group yield, taken round by round, one answer a rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from rlhf.runtime.liveness import POLL_S


@dataclass(frozen=True, slots=True)
class Round:
    """The result of waiting for one answer of every rank."""

    answers: list[tuple[int, Any]] = field(default_factory=list[tuple[int, Any]])
    """(rank, answer), by rank."""
    ended: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    """(rank, start, end) of ranks that have no more; by the worker's clock."""
    failed: dict[int, RayError] = field(default_factory=dict[int, RayError])
    """Ranks that failed, and how."""
    silent: list[int] = field(default_factory=list[int])
    """Ranks that did not answer in time."""


class Stream:
    """The answers of a method that yields, on every rank."""

    def __init__(self, streams: Sequence[Any]) -> None:
        """Wrap Ray's generators of `RoleWorker.stream`, in rank order."""
        self._open = dict(enumerate(streams))

    @property
    def is_open(self) -> bool:
        """Whether any rank may still yield."""
        return bool(self._open)

    def next(self, timeout_s: float, peers_s: float, look: Callable[[], None]) -> Round:
        """Wait for one more answer of every rank that has not ended.

        Args:
            timeout_s: Most seconds to wait for all of them.
            peers_s: Seconds the other ranks get once one has failed.
            look: Called about once a second; what it raises ends the wait.
        """
        found, until = Round(), time.monotonic() + timeout_s
        waiting = dict(self._open)
        while waiting:
            left = max(0.0, until - time.monotonic())
            ready, _ = ray.wait(list(waiting.values()), timeout=min(left, POLL_S))
            if not found.failed:
                look()
            if not ready:
                if left <= POLL_S:
                    break
                continue
            rank = next(rank for rank, stream in waiting.items() if stream is ready[0])
            self._take(rank, waiting.pop(rank), found)
            if found.failed:
                until = min(until, time.monotonic() + peers_s)
        found.silent.extend(waiting)
        found.answers.sort(key=lambda answer: answer[0])
        return found

    def _take(self, rank: int, stream: Any, found: Round) -> None:
        try:
            answers, start, end = ray.get(next(stream))
        except RayError as error:
            found.failed[rank] = error
            return
        found.answers.extend((rank, answer) for answer in answers)
        if not answers:
            found.ended.append((rank, start, end))
            del self._open[rank]
