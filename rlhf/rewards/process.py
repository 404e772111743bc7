"""A reward function in a process of its own, so that nothing it does can end or change the run.

It may exit, crash, hang in code that no signal reaches, or change its working folder: the process
ends, and what it did is told in one line. Its memory lasts from call to call, as in one process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from rlhf.errors import ConfigError, DataError
from rlhf.rewards.result import excerpt

ERRORS = {"ConfigError": ConfigError, "DataError": DataError}
TIME_LIMIT = "reward.timeout_s"


class RewardProcess:
    """FILE.py:NAME, loaded and called elsewhere."""

    def __init__(self, spec: str, timeout_s: float) -> None:
        """Start the process and load the function.

        Args:
            spec: FILE.py:NAME, the file relative to the working folder.
            timeout_s: Longest that loading, and each call, may take.

        Raises:
            ConfigError: when there is no such function, its file does not run, or not in time.
        """
        self._spec, self._timeout_s = spec, timeout_s
        theirs, ours = _pipe(), _pipe()
        self._asked, self._answers = theirs[1], ours[0]
        with theirs[0], ours[1]:
            self._process = _start(spec, theirs[0].fileno(), ours[1].fileno())
        self.close = weakref.finalize(self, _end, self._process)
        """Ends the process; done when the object goes, and at exit, too."""
        self._ask(None, ConfigError, f"reward function {spec}: loading its file")

    def score(
        self,
        prompts: Sequence[object],
        completions: Sequence[object],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return what `FunctionReward.score` says of the same arguments, there.

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
        """Return the answer to a request; None is for the function to load."""
        try:
            if request is not None:
                self._asked.send(request)
            if not self._answers.poll(self._timeout_s):
                self.close()
                raise kind(
                    f"{doing}: no answer after {TIME_LIMIT}={self._timeout_s:g} s; make it faster, "
                    "or raise that limit"
                )
            said, answer = self._answers.recv()
        except (EOFError, OSError) as error:
            raise kind(f"{doing}: {self._how_it_ended()}; it must return, and not exit") from error
        if said != "done":
            raise ERRORS[said](answer)
        return answer

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.close()
            return "it closed the files of its process"
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"it ended its process ({name})"


def check_function(spec: str, timeout_s: float) -> None:
    """Make sure that a function loads.

    Raises:
        ConfigError: when it does not.
    """
    RewardProcess(spec, timeout_s).close()


def _pipe() -> tuple[Connection[Any, Any], Connection[Any, Any]]:
    """Return the reading and the writing end of a pipe."""
    reading, writing = os.pipe()
    return Connection(reading, writable=False), Connection(writing, readable=False)


def _start(spec: str, reading: int, writing: int) -> subprocess.Popen[bytes]:
    # It imports what this process could import, and nothing that only lies in the working folder.
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "rlhf.rewards.child", spec, str(reading), str(writing)],
        pass_fds=(reading, writing),
        env={**os.environ, "PYTHONPATH": paths},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
