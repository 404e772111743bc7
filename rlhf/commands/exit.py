"""Exit: every process of the command line ends with a documented code, and one line a problem."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from rlhf.checkpoint.disk import explained, is_fault_of_the_machine
from rlhf.checkpoint.ending import Terminated, listen
from rlhf.commands.terminal import speak_plainly
from rlhf.errors import CheckpointError, RLHFError
from rlhf.secret import cleaned

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
TERMINATED = 143
"""Exit code after SIGTERM or SIGUSR1."""


def end_with(callback: Callable[[], object]) -> NoReturn:
    """Run a callback and end this process with the documented code."""
    speak_plainly()
    listen()
    try:
        callback()
    except RLHFError as error:
        _print(f"{error}")
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_fault_of_the_machine(error):
            sys.stderr.write(cleaned(traceback.format_exc()))
            sys.exit(1)
        _print(f"{explained(error)}; the same command goes on from the last checkpoint")
        sys.exit(CheckpointError.exit_code)
    except Terminated:
        _print("asked to end; the same command goes on from the last checkpoint")
        sys.exit(TERMINATED)
    except Exception:  # noqa: BLE001 - a mistake of ours: whole, but for what no terminal should get
        sys.stderr.write(cleaned(traceback.format_exc()))
        sys.exit(1)
    except KeyboardInterrupt:
        _print("interrupted; the same command goes on from the last checkpoint")
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _print(message: str) -> None:
    for line in cleaned(message).splitlines():
        sys.stderr.write(f"rlhf: {line}\n")
