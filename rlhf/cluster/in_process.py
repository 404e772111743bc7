"""InProcessGroup: a role in this very process, one rank; for tests, debuggers and small checks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlhf.cluster.group import Build
from rlhf.cluster.timeline import Call, Timeline
from rlhf.engine.world import World
from rlhf.flow.promise import Promise
from rlhf.observe.spans import Span


@dataclass(frozen=True, slots=True)
class Done:
    """A promise already kept."""

    answers: list[Any]

    def result(self) -> list[Any]:
        """Return the answers."""
        return self.answers


class InProcessGroup:
    """Group of one rank without a process of its own."""

    def __init__(self, name: str, timeline: Timeline, *, threads: int = 1) -> None:
        """Wait for a role; torch gets this many threads."""
        torch.set_num_threads(threads)
        self.name, self.size = name, 1
        self._timeline, self._role = timeline, object()

    def become(self, build: Build) -> None:
        """Make the role."""
        self._role = build(World())

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> Promise[list[Any]]:
        """Call at once."""
        return Done([self._timed(method, lambda: getattr(self._role, method)(*arguments[0]))])

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]]
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call at once; give all at the end, for nobody else can work before."""
        answers = self._timed(method, lambda: list(getattr(self._role, method)(*arguments[0])))
        return iter([[(0, answer) for answer in answers]])

    def _timed(self, method: str, run: Callable[[], Any]) -> Any:
        start = time.time()
        answer = run()
        end = time.time()
        self._timeline.add(Call(Span(self.name, 0, method, start, end), start, end))
        return answer

    def close(self) -> None:
        """Let the role go."""
        self._role = object()
