"""Exit: every process of the command line ends with a documented code, and one line a problem."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from rlhf.commands.terminal import speak_plainly
from rlhf.errors import RLHFError

INTERRUPTED = 130
"""Exit code after Ctrl-C or SIGTERM."""


def end_with(callback: Callable[[], object]) -> NoReturn:
    """Run a callback and end this process with the documented code."""
    speak_plainly()
    if threading.current_thread() is threading.main_thread():
        # A scheduler's request to end is handled and reported as Ctrl-C is.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        callback()
    except RLHFError as error:
        _print(f"{error}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _print("interrupted; the same command goes on from the last checkpoint")
        sys.exit(INTERRUPTED)
    sys.exit(0)


def _print(message: str) -> None:
    for line in message.splitlines():
        sys.stderr.write(f"rlhf: {line}\n")
