"""A request to end (SIGTERM, or SIGUSR1 from a scheduler): the step in hand may end and be saved.

Outside a stage's steps the program ends at once: all that counts is on the disk already.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

REQUESTS: Final = (signal.SIGTERM, signal.SIGUSR1)
"""What SLURM, Kubernetes, Docker and `ray job stop` send; SLURM also what --signal names."""


class Terminated(KeyboardInterrupt):
    """Somebody asked this process to end."""


class Ending:
    """Whether an end was asked for; one a process."""

    def __init__(self) -> None:
        """Start without a request, and outside any step."""
        self.is_asked = False
        self._grace_s: float | None = None

    def ask(self, request: int, _: FrameType | None = None) -> None:
        """Handle a request: within steps wait for the end of this one, else raise.

        Raises:
            Terminated: outside steps, or when it is asked for again.
        """
        if self._grace_s is None or self.is_asked:
            raise Terminated
        self.is_asked = True
        sys.stderr.write(
            f"rlhf: {signal.Signals(request).name}: this step's end is saved if it comes within "
            f"{self._grace_s:g} s\n"
        )
        signal.signal(signal.SIGALRM, _give_up)
        signal.setitimer(signal.ITIMER_REAL, self._grace_s)

    @contextmanager
    def within_steps(self, grace_s: float) -> Iterator[None]:
        """Let a request wait for a step's end, for at most grace_s seconds; 0: not at all."""
        self._grace_s = grace_s or None
        try:
            yield
        finally:
            self._grace_s = None


ENDING: Final = Ending()
"""This process's."""


def listen() -> None:
    """Handle requests to end from now on; only the main thread can."""
    if threading.current_thread() is threading.main_thread():
        for request in REQUESTS:
            signal.signal(request, ENDING.ask)


def _give_up(*_: object) -> None:
    raise Terminated
