"""A reward function in a process of its own, so that nothing it does can end or change the run.

It may exit, crash, hang in code that no signal reaches, or change its working folder: the process
ends, and the error is reported in one line. Its memory lasts from call to call, as in one process.
When it is no longer needed it ends as any program does, and what it started ends with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from rlhf.errors import ConfigError, DataError
from rlhf.rewards.child import CLOSED_FILES
from rlhf.rewards.function import unfilled
from rlhf.rewards.result import excerpt

ERRORS = {"ConfigError": ConfigError, "DataError": DataError}
TIME_LIMIT = "reward.timeout_s"
LOOK_S = 1.0
"""Between looks whether the process is still there; what it started may hold its pipes open."""
GRACE_S = 2.0
"""Seconds for it to flush its buffers and end by itself."""


class RewardProcess:
    """A reward function FILE.py:NAME, loaded and called in another process."""

    def __init__(self, spec: str, timeout_s: float) -> None:
        """Start the process and load the function.

        Args:
            spec: FILE.py:NAME, the file relative to the working folder.
            timeout_s: Most seconds that loading, and each call, may take.

        Raises:
            ConfigError: when there is no such function, its file does not run, or not in time.
        """
        self._spec, self._timeout_s = spec, timeout_s
        theirs, ours = _pipe(), _pipe()
        self._asked, self._answers = theirs[1], ours[0]
        with theirs[0], ours[1]:
            self._process = _start(spec, theirs[0].fileno(), ours[1].fileno())
        self.close = weakref.finalize(self, _end, self._process, self._asked)
        """Ends the process; done when the object goes, and at exit, too."""
        doing = f"reward function {spec}: loading its file"
        files, self.needs, self.agreement = self._ask(None, ConfigError, doing)
        """The arguments without which it cannot be called; of a judge, its own `agreement`."""
        self.files = [Path(name) for name in files]
        """Its file, and those beside it that loading it imported."""

    def refuse_without(self, columns: Mapping[str, str]) -> None:
        """Raise ConfigError where the function needs an argument that no column fills."""
        missing = unfilled(self._spec, self.needs, columns)
        if missing:
            raise ConfigError(missing)

    def score(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return what `FunctionReward.score` returns for the same arguments, in that process.

        Raises:
            DataError: as it does; and when the function ends its process, or takes too long.
        """
        if not prompts:
            return []
        asked = (list(prompts), list(completions), [dict(row) for row in columns])
        first = excerpt(prompts[0])
        doing = f"reward function {self._spec}, {len(prompts)} responses (first prompt {first})"
        return self._ask(asked, DataError, doing)

    def _ask(self, request: object, kind: type[ConfigError | DataError], doing: str) -> Any:
        """Return the answer to a request; the request None waits for the function to load."""
        replies: list[object] = []
        asking = Thread(target=self._exchange, args=(request, replies), daemon=True)
        asking.start()
        if not self._has_ended(asking):
            _kill(self._process)
            self.close()
            raise kind(
                f"{doing}: no answer after {TIME_LIMIT}={self._timeout_s:g} s; make it faster, "
                "or raise that limit"
            )
        match replies:
            case [("done", answer)]:
                return answer
            case [("ConfigError" | "DataError" as name, str(message))]:
                raise ERRORS[name](message)
            case _:
                raise kind(f"{doing}: {self._how_it_ended()}; it must return, and not exit")

    def _exchange(self, request: object, replies: list[object]) -> None:
        """Send a request and receive the reply; either may block for ever, or fail in any way."""
        with suppress(Exception):  # No reply: the caller reports why.
            if request is not None:
                self._asked.send(request)
            replies.append(self._answers.recv())

    def _has_ended(self, asking: Thread) -> bool:
        """Wait for a reply, or for the end of the process; return whether that came in time."""
        end = time.monotonic() + self._timeout_s
        while asking.is_alive() and self._process.poll() is None:
            left = end - time.monotonic()
            if left <= 0:
                return False
            asking.join(min(left, LOOK_S))
        asking.join(LOOK_S)
        return True

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            code = CLOSED_FILES
        self.close()
        if code == CLOSED_FILES:
            return "it closed the files of its process, or wrote into them"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"it ended its process ({name})"


def check_function(
    spec: str, timeout_s: float, columns: Mapping[str, str] | None = None
) -> list[Path]:
    """Make sure that a function loads and can be called; return its file, and what it imports.

    Args:
        spec: FILE.py:NAME.
        timeout_s: Most seconds that loading may take.
        columns: The columns of the prompts that it will be called with, where they are known.

    Raises:
        ConfigError: when it does not load, or needs an argument that no column fills.
    """
    reward = RewardProcess(spec, timeout_s)
    reward.close()
    if columns is not None:
        reward.refuse_without(columns)
    return reward.files


def _pipe() -> tuple[Connection[Any, Any], Connection[Any, Any]]:
    """Return the read end and the write end of a pipe."""
    reading, writing = os.pipe()
    return Connection(reading, writable=False), Connection(writing, readable=False)


def _start(spec: str, reading: int, writing: int) -> subprocess.Popen[bytes]:
    # It imports what this process could import, and nothing that only lies in the working folder.
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "rlhf.rewards.child", spec, str(reading), str(writing)],
        pass_fds=(reading, writing),
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes], asked: Connection[Any, Any]) -> None:
    """Let the process end by itself, now that nothing more is asked; then end what is left."""
    asked.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_S)
    _kill(process)
    process.wait()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    with suppress(OSError):  # Nothing of it is left.
        os.killpg(process.pid, signal.SIGKILL)
