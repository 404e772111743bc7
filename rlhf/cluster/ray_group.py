"""RayGroup: one role on several Ray actor processes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlhf.cluster.group import Build
from rlhf.cluster.residency import Move, Moving
from rlhf.cluster.timeline import Call, Timeline
from rlhf.cluster.worker import WORKERS
from rlhf.config.cluster import RoleName
from rlhf.errors import RLHFError, WorkerError
from rlhf.flow.promise import Promise
from rlhf.observe.spans import Span


@dataclass(frozen=True, kw_only=True, slots=True)
class Seats:
    """Where a group's ranks sit, and what each one gets."""

    placement: PlacementGroup
    bundles: list[int]
    """Indices into the placement group, one a rank."""
    cpus: float
    gpus: float
    threads: int
    """Torch threads a rank."""
    env: dict[str, str]
    """Environment variables of every rank."""


class RayGroup:
    """Starts the processes; they join one process group and wait for a role."""

    def __init__(
        self, name: RoleName, seats: Seats, timeline: Timeline, *, timeout_s: float
    ) -> None:
        """Ask for the processes; `join` waits for them."""
        self.name, self.size = name, len(seats.bundles)
        self._timeline, self._timeout_s = timeline, timeout_s
        # Ray makes the actor class at run time; no type checker can follow it.
        actor: Any = ray.remote(WORKERS[name])
        self._workers: list[Any] = [
            actor.options(
                num_cpus=seats.cpus,
                num_gpus=seats.gpus,
                runtime_env={"env_vars": seats.env},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    seats.placement, placement_group_bundle_index=bundle
                ),
            ).remote(name, rank, self.size, threads=seats.threads)
            for rank, bundle in enumerate(seats.bundles)
        ]

    def join(self) -> None:
        """Wait until every rank has joined the role's process group."""
        address, port = self._wait("start", [self._workers[0].address.remote()])[0]
        calls = [w.join.remote(address, port, self._timeout_s) for w in self._workers]
        self._wait("join", calls)

    def become(self, build: Build) -> None:
        """Make the role on every rank."""
        self._wait("become", [worker.become.remote(build) for worker in self._workers])

    def call(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> Promise[list[Any]]:
        """Call every rank; arguments that all ranks share are put into the object store once."""
        stored: dict[int, Any] = {}

        def put(argument: object) -> Any:
            if id(argument) not in stored:
                stored[id(argument)] = ray.put(argument)
            return stored[id(argument)]

        ready = [[put(argument) for argument in given] for given in arguments]
        asked = time.time()
        calls = [
            worker.call.remote(method, *given)
            for worker, given in zip(self._workers, ready, strict=True)
        ]
        return _Calls(self, method, calls, asked)

    def move(self, move: Move, after: Sequence[Any]) -> Moving:
        """Park or wake every rank, once its earlier calls and those of `after` have ended."""
        asked = time.time()
        calls = [worker.move.remote(move, *after) for worker in self._workers]
        return _Calls(self, move, calls, asked)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            ray.kill(worker)

    def collect(self, method: str, calls: list[Any], asked: float) -> list[Any]:
        """Wait for calls of a role method; keep when they ran, return their answers."""
        answers = self._wait(method, calls)
        answered = time.time()
        for rank, (_, start, end) in enumerate(answers):
            self._timeline.add(Call(Span(self.name, rank, method, start, end), asked, answered))
        return [answer for answer, _, _ in answers]

    def _wait(self, method: str, calls: list[Any]) -> list[Any]:
        """Turn Ray's errors into ours."""
        try:
            return ray.get(calls, timeout=self._timeout_s)
        except GetTimeoutError:
            raise WorkerError(
                f"{self.name} did not answer {method} within "
                f"cluster.timeout_s={self._timeout_s:g}; raise it if the work is that long"
            ) from None
        except RayTaskError as error:
            if isinstance(error.cause, RLHFError):
                raise error.cause from None
            raise WorkerError(f"{self.name} failed in {method}: {error}") from error
        except RayActorError as error:
            raise WorkerError(
                f"a process of {self.name} died in {method} (killed, or out of memory): "
                f"{str(error).splitlines()[0]}; run the same command again to go on from the "
                "last checkpoint"
            ) from error


@dataclass(frozen=True, slots=True)
class _Calls:
    """Answers of all ranks, under way."""

    group: RayGroup
    method: str
    calls: list[Any]
    asked: float
    """When, in seconds since the epoch."""

    def result(self) -> list[Any]:
        """Wait for all of them."""
        return self.group.collect(self.method, self.calls, self.asked)
