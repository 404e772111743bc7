"""ClusterWatch: the end of a process that a cluster cannot do without is told at once."""

from __future__ import annotations

import queue
import shutil
import subprocess
import time
from contextlib import closing

import pytest

from rlhf.runtime.cluster_watch import ClusterWatch, core


@pytest.fixture
def raylet(tmp_path):
    """Start programs of a name of Ray's that only sleep; they are below this process."""
    sleep, started = shutil.which("sleep"), []
    assert sleep is not None
    shutil.copy(sleep, tmp_path / "raylet")

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([tmp_path / "raylet", "60"]))
        while started[-1].pid not in core():
            time.sleep(0.01)
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_the_end_of_a_process_of_the_cluster_is_told_by_its_name(raylet):
    ended = queue.Queue[str]()
    before, one = core(), raylet()
    with closing(ClusterWatch(ended.put, before)):
        time.sleep(0.2)
        assert ended.empty()
        one.kill()
        assert ended.get(timeout=10) == "raylet"


def test_an_earlier_cluster_may_end_and_closing_tells_nothing(raylet):
    ended = queue.Queue[str]()
    old = raylet()
    before, new = core(), raylet()
    watch = ClusterWatch(ended.put, before)
    old.kill()
    old.wait()
    time.sleep(0.2)
    assert ended.empty()
    watch.close()
    new.kill()
    new.wait()
    assert ended.empty()
