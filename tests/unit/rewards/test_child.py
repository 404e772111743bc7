"""The process of a function answers every request, and goes when its asker has gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

from rlhf.rewards.child import serve

ROOT = Path(__file__).parents[3]
ASKER = """
import sys, time
from rlhf.rewards.process import RewardProcess
reward = RewardProcess(sys.argv[1] + ":pids", 60.0)
print(int(reward.score(["p"], ["x"], [{}])[0]), flush=True)
reward = RewardProcess(sys.argv[1] + ":busy", 60.0)
reward.score(["p"], ["x"], [{}])
"""
FILE = """
import os, pathlib, time
def pids(completions): return [float(os.getpid())] * len(completions)
def busy(completions):
    pathlib.Path(__file__).with_suffix(".pid").write_text(str(os.getpid()))
    while True: time.sleep(0.01)
def wrong(completions): return [None]
"""


def test_each_request_has_its_answer(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    (asked, requests), (answers, said) = Pipe(duplex=False), Pipe(duplex=False)
    requests.send((["p"], ["x"], [{}]))
    requests.send(([], [], []))
    requests.close()
    serve(f"{tmp_path}/own.py:wrong", asked, said)
    assert answers.recv() == ("done", ([f"{tmp_path}/own.py"], ["completions"], {}))
    kind, message = answers.recv()
    assert kind == "DataError"
    assert "response 0 (prompt 'p'): score None" in message
    assert answers.recv() == ("done", [])


def test_a_busy_function_ends_soon_after_its_asker_was_killed(tmp_path):
    (tmp_path / "own.py").write_text(FILE)
    asker = subprocess.Popen(
        [sys.executable, "-c", ASKER, str(tmp_path / "own.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert asker.stdout is not None
    idle = int(asker.stdout.readline())
    told = tmp_path / "own.pid"
    while not told.exists() or not told.read_text():
        time.sleep(0.02)
    asker.send_signal(signal.SIGKILL)
    asker.wait()
    for pid in (idle, int(told.read_text())):
        end = time.monotonic() + 60
        while is_running(pid) and time.monotonic() < end:
            time.sleep(0.05)
        assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
