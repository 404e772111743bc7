"""ClusterWatch: sees the end of the processes that make up a Ray cluster of our own.

Without its raylet Ray ends the driver at once and without a word; without its head after a minute.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Collection
from typing import Final

import psutil

CORE: Final = ("raylet", "gcs_server")
"""Names of the processes without which there is no cluster."""


def core() -> dict[int, str]:
    """Return the name of each such process below this one, by process id."""
    below = psutil.Process().children(recursive=True)
    names = {child.pid: child.name() for child in below if child.is_running()}
    return {pid: name for pid, name in names.items() if name in CORE}


class ClusterWatch:
    """Waits in a thread for the end of any of these processes; `close` ends the waiting."""

    def __init__(self, on_end: Callable[[str], None], before: Collection[int]) -> None:
        """Watch those that this process has started.

        Args:
            on_end: Called once, in the thread, with the name of the process that ended.
            before: Result of `core` before the cluster started: those of an earlier one may
                still be on their way out.
        """
        self._on_end = on_end
        self._poll, self._names = select.poll(), dict[int, str]()
        self._told, self._tell = os.pipe()
        self._poll.register(self._told, select.POLLIN)
        for pid, name in core().items():
            if pid not in before:
                handle = os.pidfd_open(pid)
                self._names[handle] = name
                self._poll.register(handle, select.POLLIN)
        self._thread = threading.Thread(target=self._wait, name="cluster watch", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        ((first, _), *_) = self._poll.poll()
        if first != self._told:
            self._on_end(self._names[first])

    def close(self) -> None:
        """Stop watching, before the processes are ended on purpose."""
        os.write(self._tell, b"end")
        self._thread.join()
        for handle in (*self._names, self._told, self._tell):
            os.close(handle)
