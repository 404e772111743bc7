"""reaper: what a cluster's driver leaves behind ends soon after it, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rlhf.runtime.reaper import GRACE_S, MARK, marking, reap

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]
DRIVER = """
import os, subprocess, sys, time
from rlhf.runtime.reaper import MARK, marking
with marking():
    bare = {name: value for name, value in os.environ.items() if name not in sys.argv}
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                             start_new_session=True, env=bare)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["marked", MARK], ids=["marked", "known"])
def driver(request):
    """Start a driver whose child has the mark, or has lost it."""
    asked = [sys.executable, "-c", DRIVER, request.param]
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, text=True)
    yield process, psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.wait()


def ended(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_what_a_driver_started_ends_after_it(driver, end):
    process, child = driver
    assert child.is_running()
    process.send_signal(end)
    assert ended(child, GRACE_S + 30)


def test_only_what_is_marked_is_ended():
    ours = {**os.environ, MARK: "ours"}
    marked = subprocess.Popen(SLEEPS, env=ours)
    others = [subprocess.Popen(SLEEPS), subprocess.Popen(SLEEPS, env={**ours, MARK: "another"})]
    try:
        time.sleep(0.2)
        reap("ours")
        assert marked.wait(10) == -signal.SIGKILL
        assert [other.poll() for other in others] == [None, None]
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_the_mark_is_gone_after_the_block():
    with marking():
        assert os.environ[MARK]
    assert MARK not in os.environ
