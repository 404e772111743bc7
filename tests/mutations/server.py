"""A process that has imported whatever is slow, and forks a test run for each line it reads.

It never imports the package itself: every run imports the code as it is at that moment.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import pytest
from hypothesis import Phase, settings

SLOW = (
    "datasets",
    "peft",
    "pydantic",
    "tokenizers",
    "torch",
    "transformers",
    "transformers.models.gpt2.modeling_gpt2",
    "transformers.models.llama.modeling_llama",
    "transformers.trainer_pt_utils",
)
PHASES = (Phase.explicit, Phase.generate)
"""Without shrinking: that a test fails is enough, and the same examples are drawn every time."""
POLL_S = 0.02


def serve() -> None:
    """Answer each line {arguments, output, limit} with pytest's exit code, on a line."""
    for name in SLOW:
        import_module(name)
    assert "rlhf" not in sys.modules
    settings.register_profile("mutations", settings.get_profile("ci"), phases=PHASES)
    settings.load_profile("mutations")
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            run(asked["arguments"], asked["output"])
        code = wait(pid, asked["limit"])
        with suppress(BrokenPipeError):
            answers.write(f"{code}\n")
            answers.flush()


def run(arguments: list[str], output: str) -> NoReturn:
    """Run the tests in this forked process, in a process group of its own; never return."""
    os.setpgid(0, 0)
    told = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 70
    try:
        code = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(pid: int, limit: float) -> int:
    """Return a process's exit code; kill it and its children when it takes too long."""
    end = time.monotonic() + limit
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            end = float("inf")
        time.sleep(POLL_S)


if __name__ == "__main__":
    serve()
