"""InProcessGroup: a role in this very process, one rank; for tests, debuggers and small checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from rlhf.engine.world import World
from rlhf.flow.future import Future, Ready
from rlhf.observe.spans import Span
from rlhf.roles.remote import UNMARKED, Remote
from rlhf.runtime.group import Build
from rlhf.runtime.timeline import Call, Timeline


class InProcessGroup:
    """A group of one rank that runs in the calling process."""

    def __init__(self, name: str, timeline: Timeline, *, threads: int = 1) -> None:
        """Start without a role; torch gets this many threads."""
        torch.set_num_threads(threads)
        self.name, self.size = name, 1
        self._timeline, self._role = timeline, object()

    def become(self, build: Build) -> None:
        """Build the role."""
        self._role = build(World())

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Future[list[Any]]:
        """Call the method at once."""
        ask = getattr(self._role, method)
        return Ready([self._timed(method, mark, lambda: ask(*arguments[0]))])

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call the method at once; yield all at the end, as no other role can work before."""
        ask = getattr(self._role, method)
        answers = self._timed(method, mark, lambda: list(ask(*arguments[0])))
        return iter([[(0, answer) for answer in answers]])

    def _timed(self, method: str, mark: Remote, run: Callable[[], Any]) -> Any:
        start = time.time()
        answer = run()
        end = time.time()
        self._timeline.add(Call(Span(self.name, 0, method, start, end, mark.phase), start, end))
        return answer

    def close(self) -> None:
        """Drop the role."""
        self._role = object()
