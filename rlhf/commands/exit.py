"""Exit: every process of the command line ends with a documented code, and one line a problem."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from rlhf.checkpoint.disk import explained, is_fault_of_the_machine
from rlhf.checkpoint.ending import Terminated, listen
from rlhf.commands.terminal import speak_plainly
from rlhf.errors import CheckpointError, LostWorkerError, RLHFError, warned
from rlhf.secret import cleaned

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
TERMINATED = 143
"""Exit code after SIGTERM or SIGUSR1."""


class RestartError(LostWorkerError):
    """The same command is to start again now, and goes on from its last checkpoint."""


class Program:
    """Whether this process is the command line's, which may replace or end it."""

    is_ours = False


def end_with(callback: Callable[[], object]) -> NoReturn:
    """Run a callback and end this process with the documented code."""
    speak_plainly()
    listen()
    Program.is_ours = True
    try:
        _tried(callback)
    except RLHFError as error:
        say(f"{error}")
        say("\n".join(f"warning: {line}" for line in warned(error)))
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_fault_of_the_machine(error):
            sys.stderr.write(cleaned(traceback.format_exc()))
            sys.exit(1)
        say(f"{explained(error)}; the same command goes on from the last checkpoint")
        sys.exit(CheckpointError.exit_code)
    except Terminated:
        say("asked to end; the same command goes on from the last checkpoint")
        sys.exit(TERMINATED)
    except Exception:  # noqa: BLE001 - a mistake of ours: whole, but for what no terminal should get
        sys.stderr.write(cleaned(traceback.format_exc()))
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from the last checkpoint")
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _tried(callback: Callable[[], object]) -> None:
    """Run a callback; where it asks for it, all of this process starts again."""
    try:
        callback()
    except RestartError as error:
        say(f"{error}")
        replace_process()


def replace_process() -> NoReturn:
    """Start this command line again, in this process's place."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def say(message: str) -> None:
    """Show a message on standard error, line by line."""
    for line in cleaned(message).splitlines():
        sys.stderr.write(f"rlhf: {line}\n")
