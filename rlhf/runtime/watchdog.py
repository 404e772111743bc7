"""Watchdog: a child process that ends with the one that started it, however that one ends.

The parent keeps the write end of a pipe to the child's standard input. The kernel closes it when
the parent ends in any way, and the child, which reads from the pipe, sees the end of file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import rlhf

STDIN = 0


def start(module: str, *arguments: str, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start `python -m module` with a watchdog, in a session that no terminal's Ctrl-C reaches.

    Args:
        module: Its dotted name.
        arguments: Its command line.
        output: Where its standard output goes; where this is a file, its errors go there too.
    """
    # The same package as here, and nothing that happens to lie in the working folder.
    home = str(Path(rlhf.__file__).parent.parent)
    paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.DEVNULL if output == subprocess.PIPE else subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def wait_for_end() -> None:
    """In the child: return when the parent closes the pipe or has ended."""
    while os.read(STDIN, 4096):
        pass


def on_end(callback: Callable[[], None]) -> None:
    """In the child: run a callback when the parent closes the pipe or ends; returns at once."""

    def wait() -> None:
        wait_for_end()
        callback()

    threading.Thread(target=wait, name="watchdog", daemon=True).start()


def read_line() -> bytes:
    """In the child: return the first line the parent sent, without the line break."""
    line = bytearray()
    while (letter := os.read(STDIN, 1)) not in (b"", b"\n"):
        line += letter
    return bytes(line)
