"""Watchdog: a child hears of its parent's end, also of a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

CHILD = "from rlhf.runtime import watchdog; print('up', flush=True); watchdog.wait_for_end()"
PARENT = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdin=subprocess.PIPE)
os.read(0, 1)
"""
LINE = """
import threading
from rlhf.runtime import watchdog
ended = threading.Event()
print(watchdog.read_line().decode(), flush=True)
watchdog.on_end(ended.set)
ended.wait()
print("told", flush=True)
"""


def started(program):
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_a_child_ends_with_its_killed_parent():
    parent = started(PARENT)
    assert parent.stdout.readline() == b"up\n"
    os.kill(parent.pid, signal.SIGKILL)
    # The child holds the pipe's other end, so this returns only when it has ended.
    assert parent.stdout.read() == b""
    parent.wait()


def test_a_child_reads_its_line_and_notices_when_the_parent_closes():
    child = started(LINE)
    child.stdin.write(b"the order\n")
    child.stdin.flush()
    assert child.stdout.readline() == b"the order\n"
    child.stdin.close()
    assert child.stdout.read() == b"told\n"
    assert child.wait() == 0
