"""RayGroup: one role on several Ray actor processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlhf.checkpoint.mode import umask
from rlhf.config.cluster import RoleName
from rlhf.errors import LostWorkerError, RLHFError, WorkerError
from rlhf.flow.future import Future
from rlhf.observe.spans import Phase, Span
from rlhf.roles.remote import UNMARKED, Remote
from rlhf.runtime.group import Build
from rlhf.runtime.liveness import POLL_S, Liveness
from rlhf.runtime.placement import RankSlot, where
from rlhf.runtime.ray_stream import Stream
from rlhf.runtime.residency import Move, Moving
from rlhf.runtime.timeline import Call, Timeline
from rlhf.runtime.worker import LOOPBACK, WORKERS, Meeting

PEERS_S = 1.0
"""How long the peers of a failed rank get to fail too: one of them may know the true reason."""
TORN_S = 10.0
"""The same where all that is known is that connections broke: a rank may have died, and a busy
machine learns of it late."""
TORN = ("onnection", "gloo", "NCCL")
"""What the errors of broken connections have in them."""


@dataclass(frozen=True, slots=True)
class GroupSlots:
    """Where a group's ranks run, and the resources and environment of each."""

    placement: PlacementGroup
    ranks: list[RankSlot]
    threads: int
    """Torch threads a rank."""
    env: dict[str, str]
    """Environment variables of every rank; Ray writes them to its logs."""
    secrets: dict[str, str]
    """Further ones, which Ray must not write anywhere."""
    liveness: Liveness
    """Watches the ranks."""


class RayGroup:
    """Starts the processes; they join one process group and wait for a role."""

    def __init__(
        self, name: RoleName, slots: GroupSlots, timeline: Timeline, *, timeout_s: float
    ) -> None:
        """Request the processes; `join` waits for them."""
        self.name, self.size = name, len(slots.ranks)
        self.nodes = [slot.node.name for slot in slots.ranks]
        self._timeline, self._timeout_s, self._secrets = timeline, timeout_s, slots.secrets
        self._liveness, self._look = slots.liveness, partial(slots.liveness.check, name)
        # Ray makes the actor class at run time; no type checker can follow it.
        actor: Any = ray.remote(WORKERS[name])
        self._workers: list[Any] = [
            actor.options(
                name=self._liveness.name(name, rank),
                num_cpus=slot.cpus,
                num_gpus=slot.gpus,
                runtime_env={"env_vars": slots.env},
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    slots.placement, placement_group_bundle_index=slot.bundle
                ),
            ).remote(name, rank, self.size, threads=slots.threads)
            for rank, slot in enumerate(slots.ranks)
        ]

    def join(self) -> None:
        """Wait until every rank has started and joined the role's process group."""
        nodes = self._wait("start", [worker.address.remote() for worker in self._workers])
        # Whoever reaches the port could write there, so where all share a node nobody else does.
        address = LOOPBACK if len({*nodes}) == 1 else nodes[0]
        nonce = token_hex(16)
        (port,) = self._wait("start", [self._workers[0].meet.remote(address, nonce)])
        meeting = Meeting(
            address=address,
            port=port,
            nonce=nonce,
            timeout_s=self._timeout_s,
            secrets=self._secrets,
            umask=umask(),
        )
        self._wait("join", [worker.join.remote(meeting) for worker in self._workers])
        self._liveness.watch(self.name, {self._place(r): w for r, w in enumerate(self._workers)})

    def become(self, build: Build) -> None:
        """Build the role on every rank."""
        self._wait("become", [worker.become.remote(build) for worker in self._workers])

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Future[list[Any]]:
        """Call a method on every rank, rank r with arguments[r]."""
        ready, asked = _stored(arguments), time.time()
        calls = [
            worker.call.remote(method, *given)
            for worker, given in zip(self._workers, ready, strict=True)
        ]
        return _Calls(self, method, mark.phase, calls, asked)

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call a method that yields on every rank; give the n-th answers of all ranks at once.

        Each round waits for all ranks, so the rounds do not depend on which rank is faster.
        """
        ready, asked = _stored(arguments), time.time()
        streams = [
            worker.stream.remote(method, *given)
            for worker, given in zip(self._workers, ready, strict=True)
        ]
        return self._rounds(method, mark.phase, Stream(streams), asked)

    def move(self, move: Move, after: Sequence[Any]) -> Moving:
        """Offload or onload every rank, after its earlier calls and those of `after` have ended."""
        asked = time.time()
        calls = [worker.move.remote(move, *after) for worker in self._workers]
        return _Calls(self, move, "turn", calls, asked)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            ray.kill(worker)

    def collect(self, calls: _Calls) -> list[Any]:
        """Wait for calls of a role method; record when they ran, return their answers."""
        answers = self._wait(calls.method, calls.calls)
        answered = time.time()
        for rank, (_, start, end) in enumerate(answers):
            span = Span(self.name, rank, calls.method, start, end, calls.phase)
            self._timeline.add(Call(span, calls.asked, answered))
        return [answer for answer, _, _ in answers]

    def _rounds(
        self, method: str, phase: Phase | None, stream: Stream, asked: float
    ) -> Iterator[list[tuple[int, Any]]]:
        """Yield one round of answers after another; cluster.timeout_s is for all of them."""
        until = time.monotonic() + self._timeout_s
        while stream.is_open:
            found = stream.next(until - time.monotonic(), PEERS_S, self._look)
            if found.failed:
                raise self._error(method, found.failed)
            if found.silent:
                raise LostWorkerError(self._silence(method, found.silent))
            answered = time.time()
            for rank, start, end in found.ended:
                span = Span(self.name, rank, method, start, end, phase)
                self._timeline.add(Call(span, asked, answered))
            if found.answers:
                yield found.answers

    def _wait(self, method: str, calls: list[Any]) -> list[Any]:
        """Wait for every rank, or until one has failed; raises errors of ours in place of Ray's."""
        until = time.monotonic() + self._timeout_s
        answers, waiting = dict[int, Any](), dict(enumerate(calls))
        while waiting:
            left = max(0.0, min(POLL_S, until - time.monotonic()))
            # What is not fetched here is not given up at the next look.
            ready, _ = ray.wait(list(waiting.values()), timeout=left, fetch_local=False)
            if not ready and time.monotonic() >= until:
                raise LostWorkerError(self._silence(method, list(waiting)))
            for rank in [rank for rank, call in waiting.items() if call in ready]:
                try:
                    answers[rank] = ray.get(waiting.pop(rank))
                except RayError as error:
                    raise self._error(method, _failed(calls)) from error
            self._look()
        return [answers[rank] for rank in range(len(calls))]

    def _error(self, method: str, failed: Mapping[int, RayError]) -> RLHFError:
        """Return the error to raise: that of the rank that failed of itself.

        When a rank dies or leaves a collective, its peers fail in theirs, sometimes before Ray
        notices the death. So a death comes first, then errors of ours that explain the failure.
        """
        rank = min(failed, key=lambda each: _rank_of_blame(failed[each]))
        self._liveness.forget(self.name, (r for r in failed if _rank_of_blame(failed[r]) == 0))
        return _ours(failed[rank], f"{self._place(rank)} %s in {method}")

    def _place(self, rank: int) -> str:
        return f"{self.name} rank {rank} of {self.size} on {self.nodes[rank]}"

    def _silence(self, method: str, silent: list[int]) -> str:
        """Return which ranks have not answered."""
        places = where({rank: self.nodes[rank] for rank in silent})
        return (
            f"{len(silent)} of {self.size} ranks of {self.name} did not answer {method} within "
            f"cluster.timeout_s={self._timeout_s:g}, ranks by node: {places}; raise it if "
            f"the work is that long{self._liveness.where_stood(self.name, silent)}"
        )


def _stored(arguments: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Put arguments into Ray's object store; one that several ranks share is put there once."""
    stored: dict[int, Any] = {}

    def put(argument: object) -> Any:
        if id(argument) not in stored:
            stored[id(argument)] = ray.put(argument)
        return stored[id(argument)]

    return [[put(argument) for argument in given] for given in arguments]


def _failed(calls: list[Any]) -> dict[int, RayError]:
    """Return the ranks that failed, with their errors; the others get a moment to fail too."""
    for patience in (PEERS_S, TORN_S):
        answered, _ = ray.wait(calls, num_returns=len(calls), timeout=patience)
        errors = {rank: _error_of(call) for rank, call in enumerate(calls) if call in answered}
        failed = {rank: error for rank, error in errors.items() if error is not None}
        if not failed or not all(_is_torn(error) for error in failed.values()):
            break
    return failed


def _error_of(call: Any) -> RayError | None:
    try:
        ray.get(call)
    except RayError as error:
        return error
    return None


def _rank_of_blame(error: RayError) -> int:
    if not isinstance(error, RayTaskError):
        return 0
    ours = isinstance(error.cause, RLHFError) and not isinstance(error.cause, WorkerError)
    return 1 if ours else 2


def _is_torn(error: RayError) -> bool:
    return _rank_of_blame(error) == 2 and any(word in str(error) for word in TORN)


def _ours(error: RayError, what: str) -> RLHFError:
    """Return the error to raise; `what` names role, rank, node and method around its verb."""
    if isinstance(error, RayTaskError):
        if isinstance(error.cause, RLHFError):
            return error.cause
        return WorkerError(f"{what % 'failed'}: {error}")
    reason = str(error).strip().splitlines()[-1].partition(". ")[0]
    return LostWorkerError(
        f"{what % 'died'} (killed, out of memory, or its node is gone): {reason}"
    )


@dataclass(frozen=True, slots=True)
class _Calls:
    """A future of the answers of all ranks."""

    group: RayGroup
    method: str
    phase: Phase | None
    calls: list[Any]
    asked: float
    """When, in seconds since the epoch."""

    def result(self) -> list[Any]:
        """Wait for all of them."""
        return self.group.collect(self)
