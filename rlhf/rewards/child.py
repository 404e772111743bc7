"""The process of a reward function: loads it, and serves requests until the caller has gone.

    python -m rlhf.rewards.child FILE.py:NAME READING WRITING

An answer is ("done", scores), or the name of an error of rlhf/errors.py and its message. The first
one is about loading: ("done", (names of the user's files that were read, arguments that must be
filled, `agreement_of` the function)).
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
from typing import Any

from rlhf.errors import ConfigError, RLHFError, described
from rlhf.plugin import PACKAGED, parted
from rlhf.rewards.function import FunctionReward, RewardFunction
from rlhf.rewards.load import files_of, load_function

CLOSED_FILES = 74
"""Exit code (EX_IOERR of sysexits.h) where an answer could not be sent."""
POLL_S = 1.0
"""Between looks whether the asker is still there, should the function be busy when it goes."""
GRACE_S = 2.0
"""To end by itself after that, as when it is not busy."""


def serve(spec: str, asked: Connection[Any, Any], answers: Connection[Any, Any]) -> None:
    """Load the function, then score every batch that is asked for."""
    own, loaded, before = os.getpid(), list[FunctionReward](), set(sys.modules)

    def load() -> tuple[list[str], list[str], dict[str, float]]:
        file = parted(spec, "reward function")[0].absolute()
        function = load_function(spec)
        loaded.append(FunctionReward(function, spec))
        files = [] if spec.startswith(PACKAGED) else files_of(file, before)
        return files, loaded[0].needs, agreement_of(function, spec)

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


def agreement_of(function: RewardFunction, spec: str) -> dict[str, float]:
    """Return how well a judge says it agrees with people, by name: its attribute `agreement`.

    Raises:
        ConfigError: when that cannot be read, or is no dict of numbers.
    """
    try:
        said = getattr(function, "agreement", {})
        return {str(name): value + 0 for name, value in said.items()}
    except RLHFError:
        raise
    except Exception as error:  # a user's attribute may be and raise anything
        raise ConfigError(
            f"reward function {spec}: its attribute `agreement` is no dict of numbers: "
            f"{described(error)}"
        ) from error


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
