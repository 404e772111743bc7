"""Whatever a function does in its own process is an answer in time, or one line."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rlhf.errors import ConfigError, DataError
from rlhf.rewards.process import RewardProcess, check_function

FILE = """
import asyncio, ctypes, itertools, os, sys, time
calls = []

def counts(completions, **kwargs):
    calls.append(len(completions))
    return [float(len(calls))] * len(completions)

def pids(completions): return [float(os.getpid())] * len(completions)
def wanders(completions):
    os.chdir("/")
    os.environ["HOME"] = "/nowhere"
    return [0.0] * len(completions)
def spoils(prompts, completions):
    prompts.clear(); completions.clear()
    return [0.0, 0.0]
def speaks(completions):
    print("said by the function")
    return [0.0] * len(completions)
def forks(completions):
    counts(completions)
    if not os.fork():
        time.sleep(0.2)
        return [-1.0] * len(completions)
    time.sleep(0.3)
    return [float(len(calls))] * len(completions)
def leaves_a_child(completions):
    if os.fork(): os._exit(3)
    time.sleep(1000)
def keeps_a_child(completions):
    pid = os.fork()
    if not pid: time.sleep(1000)
    return [float(pid)] * len(completions)
def writes(completions):
    global log
    log = open(__file__ + ".log", "w")
    log.write("buffered")
    return [0.0] * len(completions)
def scribbles(completions):
    for fd in range(3, 300):
        try: os.write(fd, bytes([0, 0, 0, 4]) + b"junk")
        except OSError: pass
    time.sleep(1000)
def holds(completions):
    import threading
    timer = threading.Timer(0.3, sum, (itertools.repeat(0),))
    timer.daemon = True
    timer.start()
    return [0.0] * len(completions)
def leaves(completions): sys.exit(3)
def stops(completions): raise KeyboardInterrupt
def really_leaves(completions): os._exit(0)
def crashes(completions): os.kill(os.getpid(), 11)
def sleeps(completions): time.sleep(1000)
def spins(completions): return [sum(itertools.repeat(0)) for _ in completions]
async def waits(completions): await asyncio.sleep(1000)
def closes(completions): os.closerange(3, 100); time.sleep(1000)
def closes_and_answers(completions): os.closerange(3, 100); return [0.0] * len(completions)
async def exits(completions): sys.exit(4)
async def cancels(completions): raise asyncio.CancelledError
def deep(completions): return deep(completions)
"""
TWO = (["p", "q"], ["x", "y"], [{}, {}])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(FILE)
    return path


def test_its_memory_lasts_from_call_to_call(file):
    reward = RewardProcess(f"{file}:counts", 60.0)
    assert [reward.score(*TWO) for _ in range(3)] == [[1.0] * 2, [2.0] * 2, [3.0] * 2]
    assert reward.score([], [], []) == []


def test_it_is_another_process_and_ends_when_closed(file):
    reward = RewardProcess(f"{file}:pids", 60.0)
    pid = int(reward.score(*TWO)[0])
    assert pid != os.getpid()
    os.kill(pid, 0)
    reward.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_fork_that_comes_back_answers_nothing(file):
    reward = RewardProcess(f"{file}:forks", 60.0)
    assert [reward.score(*TWO) for _ in range(3)] == [[1.0] * 2, [2.0] * 2, [3.0] * 2]


def test_what_it_started_ends_with_it(file):
    reward = RewardProcess(f"{file}:keeps_a_child", 60.0)
    pid = int(reward.score(*TWO)[0])
    os.kill(pid, 0)
    reward.close()
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_what_it_buffers_is_written(file):
    reward = RewardProcess(f"{file}:writes", 60.0)
    reward.score(*TWO)
    reward.close()
    assert Path(f"{file}.log").read_text() == "buffered"


def test_a_request_that_it_never_reads_is_reported_in_time(file):
    reward = RewardProcess(f"{file}:holds", 2.0)
    reward.score(*TWO)
    time.sleep(0.6)
    with pytest.raises(DataError, match=r"no answer after reward.timeout_s=2 s"):
        reward.score(["p"], ["x" * 10**7], [{}])


@pytest.mark.parametrize("limit", [1e7, 1e18])
def test_a_time_limit_may_be_as_long_as_one_likes(file, limit):
    assert RewardProcess(f"{file}:counts", limit).score(*TWO) == [1.0, 1.0]


def test_it_names_its_file_and_those_beside_it_that_it_imports(file):
    (file.parent / "marks.py").write_text("from parts import x")
    (file.parent / "parts.py").write_text("x = 1")
    (file.parent / "others.py").write_text("x = 1")
    (file.parent / "own.py").write_text("import json, os, marks\nos.chdir('/')\n" + FILE)
    beside = [file.parent / name for name in ("own.py", "marks.py", "parts.py")]
    assert check_function(f"{file}:counts", 60.0) == beside


def test_an_argument_that_no_column_fills_is_refused_where_the_columns_are_known(file):
    source = "def f(prompts, answer, mood='glad', **rest):\n    return [1.0] * len(prompts)\n"
    (file.parent / "asks.py").write_text(source)
    asks = f"{file.parent / 'asks.py'}:f"
    assert check_function(asks, 60.0) == [file.parent / "asks.py"]
    assert check_function(asks, 60.0, {"answer": "", "other": ""})
    with pytest.raises(ConfigError, match="needs `answer`.*nearest: answers; .* answers, comp"):
        check_function(asks, 60.0, {"answers": "", "prompt": ""})
    without = "2 of 9 rows, the first p.jsonl:4"
    with pytest.raises(ConfigError, match=f"`answer`, a column that is not in {without}; write it"):
        check_function(asks, 60.0, {"answer": without})


def test_it_changes_nothing_here(file):
    folder, home = Path.cwd(), os.environ["HOME"]
    prompts, completions, _ = TWO
    RewardProcess(f"{file}:wanders", 60.0).score(*TWO)
    RewardProcess(f"{file}:spoils", 60.0).score(*TWO)
    assert (Path.cwd(), os.environ["HOME"]) == (folder, home)
    assert (prompts, completions) == (["p", "q"], ["x", "y"])


def test_what_it_prints_is_seen(file, capfd):
    RewardProcess(f"{file}:speaks", 60.0).score(*TWO)
    assert capfd.readouterr().out == "said by the function\n"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("leaves", "raised SystemExit: 3 at"),
        ("stops", "raised KeyboardInterrupt"),
        ("really_leaves", "it ended its process (exit code 0)"),
        ("crashes", "it ended its process (SIGSEGV)"),
        ("leaves_a_child", "it ended its process (exit code 3)"),
        ("scribbles", "it closed the files of its process, or wrote into them"),
        ("closes_and_answers", "it closed the files of its process, or wrote into them"),
        ("exits", "raised SystemExit: 4 at"),
        ("cancels", "raised CancelledError"),
        ("deep", "raised RecursionError"),
    ],
)
def test_how_it_failed_is_one_line(file, name, told, capfd):
    with pytest.raises(DataError) as caught:
        RewardProcess(f"{file}:{name}", 60.0).score(*TWO)
    message = str(caught.value)
    assert f"own.py:{name}" in message
    assert told in message
    assert "first prompt 'p'" in message
    assert "\n" not in message
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["sleeps", "spins", "waits", "closes"])
def test_no_answer_in_time_is_one_line(file, name):
    reward, start = RewardProcess(f"{file}:counts", 60.0), time.monotonic()
    reward = RewardProcess(f"{file}:{name}", 3.0)
    with pytest.raises(DataError) as caught:
        reward.score(*TWO)
    assert f"own.py:{name}, 2 responses (first prompt 'p'): " in str(caught.value)
    assert ("reward.timeout_s=3 s" in str(caught.value)) == (name != "closes")
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import sys; sys.exit(0)", "does not import: .*:1: SystemExit: 0"),
        ("raise KeyboardInterrupt", "does not import: .*:1: KeyboardInterrupt"),
        ("import os; os._exit(0)", "loading its file: it ended its process \\(exit code 0\\)"),
        ("while True: pass", "loading its file: no answer after reward.timeout_s=2 s"),
        ("def f(:", "does not import: .*:1: SyntaxError"),
        ("import nowhere_at_all", "does not import: .*:1: ModuleNotFoundError"),
        ("f = 3", "f is a int, not a function"),
    ],
)
def test_a_file_that_does_not_load_is_one_line(tmp_path, source, told):
    path = tmp_path / "bad.py"
    path.write_text(source)
    with pytest.raises(ConfigError, match=told) as caught:
        check_function(f"{path}:f", 2.0)
    assert "\n" not in str(caught.value)
