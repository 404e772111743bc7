"""Reaper: ends what is left of a Ray cluster of our own once its driver has ended in any way.

A driver that is killed takes Ray's raylet with it, but the raylet's agents go on for minutes, one
of them with an open port, and so may what a role's process started.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

from rlhf.runtime import watchdog

MARK = "RLHF_CLUSTER"
"""Variable that all processes of a cluster inherit."""
GRACE_S = 3.0
"""Seconds in which they may end by themselves."""
POLL_S = 0.1


@contextmanager
def marking() -> Iterator[None]:
    """Mark what is started in the block; a process of ours ends it all after this process."""
    os.environ[MARK] = secrets.token_hex(8)
    try:
        reaper = watchdog.start("rlhf.runtime.reaper", os.environ[MARK], output=subprocess.DEVNULL)
        before = {reaper.pid, *(child.pid for child in psutil.Process().children(recursive=True))}
        yield
        # A process that gives itself a title, as Ray's agents do, writes it over its variables.
        started = (
            child for child in psutil.Process().children(recursive=True) if child.pid not in before
        )
        assert reaper.stdin is not None
        reaper.stdin.write(json.dumps([[c.pid, c.create_time()] for c in started]).encode() + b"\n")
        reaper.stdin.flush()
    finally:
        del os.environ[MARK]


def reap(mark: str, known: Sequence[tuple[int, float]] = ()) -> None:
    """Return when nothing of a cluster is left; processes that stay are killed.

    Args:
        mark: What its processes have in their environment.
        known: Process id and start of those that may have lost it.
    """
    deadline = time.monotonic() + GRACE_S
    while (left := _left(mark, known)) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    for process in left:
        with suppress(psutil.Error):
            process.kill()


def _left(mark: str, known: Sequence[tuple[int, float]]) -> list[psutil.Process]:
    """Return this user's processes that are marked or known, this one aside."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real != os.getuid() or process.pid == os.getpid():
                continue
            is_known = any((process.pid, process.create_time()) == tuple(one) for one in known)
            if is_known or process.environ().get(MARK) == mark:
                found.append(process)
    return found


if __name__ == "__main__":
    told = watchdog.read_line()
    watchdog.wait_for_end()
    reap(sys.argv[1], json.loads(told or b"[]"))
