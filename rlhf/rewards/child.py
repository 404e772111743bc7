"""The process of a reward function: loads it, and serves requests until the caller has gone.

    python -m rlhf.rewards.child FILE.py:NAME READING WRITING

An answer is ("done", scores), or the name of an error of rlhf/errors.py and its message. The first
one is about loading: ("done", names of the files that were read).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rlhf.errors import RLHFError
from rlhf.rewards.function import FunctionReward
from rlhf.rewards.load import files_of, load_function

CLOSED_FILES = 74
"""Exit code (EX_IOERR of sysexits.h) where an answer could not be sent."""
POLL_S = 1.0
"""Between looks whether the asker is still there, should the function be busy when it goes."""
GRACE_S = 2.0
"""To end by itself after that, as when it is not busy."""


def serve(spec: str, asked: Connection[Any, Any], answers: Connection[Any, Any]) -> None:
    """Load the function, then score every batch that is asked for."""
    own, loaded = os.getpid(), list[FunctionReward]()
    file, before = Path(spec.rpartition(":")[0]).absolute(), set(sys.modules)

    def load() -> tuple[list[str], list[str]]:
        loaded.append(FunctionReward(load_function(spec), spec))
        return files_of(file, before), loaded[0].needs

    def answer(callback: Callable[[], object]) -> None:
        outcome = _outcome(callback)
        if os.getpid() != own:
            os._exit(0)  # A fork that came back, too: its maker answers.
        answers.send(outcome)

    answer(load)
    while loaded:
        try:
            batch = asked.recv()
        except EOFError:
            return
        answer(lambda batch=batch: loaded[0].score(*batch))


def _outcome(callback: Callable[[], object]) -> tuple[str, object]:
    try:
        return "done", callback()
    except RLHFError as error:
        return type(error).__name__, str(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # The function may have closed or replaced them.
                stream.flush()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(POLL_S)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)  # And all that the function started: the group is its own.


def main() -> None:
    """Serve the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The caller handles Ctrl-C.
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    spec, reading, writing = sys.argv[1:]
    asked, answers = (
        Connection(int(reading), writable=False),
        Connection(int(writing), readable=False),
    )
    sys.argv = [spec.rpartition(":")[0]]
    try:
        serve(spec, asked, answers)
    except OSError:  # The function may have closed these, too; the caller reports it.
        os._exit(CLOSED_FILES)


if __name__ == "__main__":
    main()
