"""Liveness: sees soon that a rank of any role died or stands still, whichever is waited for."""

from __future__ import annotations

import secrets
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final

import ray
from ray.exceptions import GetTimeoutError, RayError

from rlhf.errors import LostWorkerError

POLL_S: Final = 1.0
"""Seconds between two looks."""
BEATS: Final = 8
"""Signs of life in the longest time without one."""
FRAMES: Final = 3
"""Frames of a rank's stack that a message names, the innermost first."""
ANSWER_S: Final = 5.0
"""Longest the pulse may take to answer, before it is asked again at the next look."""


class Pulse:
    """An actor that keeps when each rank last gave a sign of life, and where it stood then."""

    def __init__(self) -> None:
        """Start without ranks."""
        self._last: dict[str, tuple[float, str]] = {}

    def beat(self, rank: str, stack: str) -> None:
        """Take a sign of life."""
        self._last[rank] = (time.monotonic(), stack)

    def last(self) -> dict[str, tuple[float, str]]:
        """Return (seconds since its last sign, its stack then) of every rank, by its name."""
        now = time.monotonic()
        return {rank: (now - then, stack) for rank, (then, stack) in self._last.items()}


def beat(pulse: Any, rank: str, every_s: float) -> None:
    """In a rank: give signs of life from now on, with the stack of the main thread in each."""

    def work() -> None:
        while True:
            pulse.beat.remote(rank, _main_stack())
            time.sleep(every_s)

    threading.Thread(target=work, name="pulse", daemon=True).start()


def _main_stack() -> str:
    """Return where the main thread stands; no frame is kept, as it would keep its tensors."""
    main = threading.main_thread().ident
    frame = sys._current_frames().get(main or 0)  # pyright: ignore[reportPrivateUsage]
    return stack_of(traceback.extract_stack(frame))


def stack_of(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return the innermost frames in words, the innermost first."""
    inner = [f"{each.name} ({each.filename}:{each.lineno})" for each in [*frames][-FRAMES:]]
    return " in ".join(reversed(inner))


class Liveness:
    """The driver's view of all ranks of a run."""

    def __init__(self, hang_s: float | None) -> None:
        """Start watching; hang_s: longest a rank may give no sign of life, None for no limit."""
        self._token, self._hang_s = secrets.token_hex(4), hang_s
        self._places: dict[str, str] = {}
        self._looked, self._asked = time.monotonic(), time.monotonic()
        # Ray makes the actor class at run time; no type checker can follow it.
        actor: Any = ray.remote(Pulse)
        self._pulse: Any = None if hang_s is None else actor.options(num_cpus=0).remote()

    def name(self, role: str, rank: int) -> str:
        """Return the name under which Ray knows a rank's actor."""
        return f"{self._token}-{role}-{rank}"

    def watch(self, role: str, workers: Mapping[str, Any]) -> None:
        """Watch the ranks of a role from now on: their actors, by their places for messages."""
        for rank, (place, worker) in enumerate(workers.items()):
            self._places[self.name(role, rank)] = place
            if self._pulse is not None and self._hang_s is not None:
                worker.beat.remote(self._pulse, self.name(role, rank), self._hang_s / BEATS)

    def forget(self, role: str, ranks: Iterable[int]) -> None:
        """Watch ranks no longer, as their end is told already."""
        for rank in ranks:
            self._places.pop(self.name(role, rank), None)

    def check(self, asked: str = "") -> None:
        """Look at all ranks, at most once a second.

        Args:
            asked: The role that is waited for: the deaths of its ranks come as answers.

        Raises:
            LostWorkerError: naming those that are dead, or gave no sign of life for too long.
        """
        if time.monotonic() - self._looked < POLL_S:
            return
        self._looked = time.monotonic()
        alive = {*ray.util.list_named_actors()}
        gone = [name for name in self._places if name not in alive]
        dead = [self._places.pop(name) for name in gone if name.split("-")[1] != asked]
        if dead:
            raise LostWorkerError(
                f"{', '.join(dead)} died (killed, out of memory, or its node is gone)"
            )
        if self._hang_s is not None and self._looked - self._asked > self._hang_s / BEATS:
            self._asked = self._looked
            self._check_signs(self._hang_s)

    def _check_signs(self, hang_s: float) -> None:
        try:
            last = self.last()
        except GetTimeoutError:
            return  # it is asked again
        except RayError as error:
            raise LostWorkerError(
                "the actor that keeps the ranks' signs of life died, or its node is gone"
            ) from error
        late = [
            f"{self._places[name]} gave no sign of life for {seconds:.0f} s "
            f"(cluster.hang_s={hang_s:g}); it stood in {stack}"
            for name, (seconds, stack) in last.items()
            if seconds > hang_s and name in self._places
        ]
        if late:
            raise LostWorkerError("\n".join(late))

    def last(self) -> dict[str, tuple[float, str]]:
        """Return what the pulse knows (Pulse.last); nothing where there is no limit.

        Raises:
            RayError: when it does not answer in time, or is dead.
        """
        if self._pulse is None:
            return {}
        return ray.get(self._pulse.last.remote(), timeout=ANSWER_S)

    def where_stood(self, role: str, ranks: Iterable[int]) -> str:
        """Return where each rank stood when it last gave a sign, as the end of a message."""
        try:
            last = self.last()
        except RayError:
            return ""
        names = {self.name(role, rank): rank for rank in ranks}
        return "".join(f"; rank {names[n]} stood in {last[n][1]}" for n in names if n in last)

    def close(self) -> None:
        """End the pulse."""
        if self._pulse is not None:
            ray.kill(self._pulse)
