"""The pipeline as Ray actors over DeepSpeed: who runs, what comes out, what a kill costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from rlhf.observe.spans import Span, read_traces
from tests.integration.conftest import ENGINE, NEW, SMALL, SOURCES, metrics, write_data

MOVES = ("offload", "onload")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
ON_RAY = ("cluster.policy.ranks=2", "engine.zero_stage=2", "cluster.timeout_s=120")
NUM_STEPS = 4
LENGTH = (f"ppo.num_steps={NUM_STEPS}", "checkpoint.every=2", "policy.optimizer.eps=1e-3")
WORKERS = {f"ray::{role}Worker" for role in ("Policy", "Reference", "Reward", "Value")}
CLOSE = 1e-4
LEARN = ("value", "policy")


def command(*changes: str) -> list[str]:
    asked = ["pipeline", *NEW, *SMALL, *SOURCES, *LENGTH, *changes]
    return [sys.executable, "-m", "rlhf", *asked]


def start(home: Path, run: str, *changes: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with (home / f"{run}.out").open("ab") as out:
        return subprocess.Popen(
            command(f"run_dir={run}", *ON_RAY, *changes),
            cwd=home,
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )


def said(home: Path, run: str = "run") -> str:
    return (home / f"{run}.out").read_text(encoding="utf-8", errors="replace")


def ppo_steps(folder: Path) -> int:
    if not (folder / "metrics.jsonl").exists():
        return 0
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    return sum(json.loads(line)["stage"] == "ppo" for line in lines if line.endswith("\n"))


def workers_of(process: subprocess.Popen[bytes]) -> set[str]:
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return set()
    found = set()
    for child in below:
        try:
            found |= {name for name in WORKERS if " ".join(child.cmdline()).startswith(name)}
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray")
    write_data(folder)
    return folder


@dataclass(frozen=True)
class Seen:
    """What was there when the first driver was killed."""

    workers: set[str]
    left: list[str]
    """Processes below it, Ray's own among them, that outlived it by more than 20 seconds."""
    before: list[dict[str, object]]


@pytest.fixture(scope="module")
def seen(home):
    """Kill the driver in the middle of PPO, then let the same command go on to the end."""
    process, names = start(home, "run"), set()
    while ppo_steps(home / "run") < 3:
        assert process.poll() is None, said(home)
        names |= workers_of(process) if names != WORKERS else set()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)  # no step more while its processes are looked for
    below = psutil.Process(process.pid).children(recursive=True)
    services = [child for child in below if "ray" in " ".join(child.cmdline())]
    assert len(services) > len(WORKERS)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = metrics(home / "run")
    assert not (home / "run/policy").exists()
    _, alive = psutil.wait_procs(below, timeout=20)
    left = [" ".join(one.cmdline()) for one in alive]
    again = start(home, "run")
    assert again.wait(timeout=240) == 0, said(home)
    return Seen(names, left, before)


def test_every_role_has_processes_of_its_own_name(seen):
    assert seen.workers == WORKERS


def test_a_killed_driver_takes_all_its_processes_with_it(seen):
    assert seen.left == []


def test_the_terminal_shows_no_foreign_chatter(home, seen):
    for word in ("Traceback", "Warning", "[INFO]", "pid=", "HYDRA"):
        assert word not in said(home)


def test_a_killed_run_goes_on_from_its_checkpoint_in_the_same_bits(home, seen):
    assert "going on from step 2" in said(home)
    after = metrics(home / "run")
    assert ppo_steps(home / "run") == NUM_STEPS
    assert after[: len(seen.before)] == seen.before
    assert (home / "run/policy/config.json").is_file()


def ranks_of(spans: tuple[Span, ...]) -> dict[str, set[int]]:
    return {role: {s.rank for s in spans if s.role == role} for role in {s.role for s in spans}}


def overlap(spans: tuple[Span, ...], method: str) -> bool:
    """Whether value and policy ran the method at the same moment."""
    value, policy = ([s for s in spans if (s.role, s.method) == (role, method)] for role in LEARN)
    return any(a.start < b.end and b.start < a.end for a in value for b in policy)


def test_the_timeline_shows_every_rank_and_learners_at_the_same_time(home, seen):
    traces = [kept.trace for kept in read_traces(home / "run") if kept.stage == "ppo"]
    assert len(traces) == 4
    for trace in traces:
        assert ranks_of(trace.spans) == {
            "policy": {0, 1},
            "reference": {0},
            "reward": {0},
            "value": {0},
        }
        assert all(-0.01 < s.start <= s.end < trace.seconds + 0.01 for s in trace.spans)
        assert 0 <= trace.idle()["policy"] < trace.idle()["reference"] < 1
    assert any(overlap(trace.spans, "improve") for trace in traces)
    assert "Who works when" in (home / "run/report.html").read_text(encoding="utf-8")


def rank_of(process: subprocess.Popen[bytes], role: str) -> psutil.Process:
    below = psutil.Process(process.pid).children(recursive=True)
    return next(p for p in below if " ".join(p.cmdline()).startswith(f"ray::{role}Worker"))


def test_roles_that_take_turns_and_a_rank_that_is_lost_change_no_bit(home, seen):
    together = (f"cluster.{role}.colocate_with=policy" for role in ("reference", "reward", "value"))
    changes = (*together, "cluster.residency=in_turn", "cluster.max_restarts=1")
    process = start(home, "turns", *changes)
    while ppo_steps(home / "turns") < 3:
        assert process.poll() is None, said(home, "turns")
        time.sleep(0.02)
    rank_of(process, "Value").kill()
    assert process.wait(timeout=240) == 0, said(home, "turns")
    lines = said(home, "turns")
    assert "rlhf: value rank 0 of 1 on" in lines
    assert "starting again (1 of 1)" in lines
    assert "going on from step 2" in lines
    (restart,) = json.loads((home / "turns/manifest.json").read_text())["restarts"]
    assert restart["reason"].startswith("value rank 0 of 1 on")
    page = (home / "turns/report.html").read_text(encoding="utf-8")
    assert "Restarts" in page
    assert metrics(home / "turns") == metrics(home / "run")
    for model in ("sft", "reward_model", "policy", "value"):
        one, other = (home / run / model / "model.safetensors" for run in ("run", "turns"))
        assert one.read_bytes() == other.read_bytes(), model
    traces = {kept.step: kept.trace for kept in read_traces(home / "turns") if kept.stage == "ppo"}
    for step in (1, 3):  # the others begin after samples or a checkpoint, with another role awake
        found = [(s.role, s.method) for s in traces[step].spans if s.method in MOVES]
        ranks = {"policy": 2, "reference": 1, "reward": 1, "value": 1}
        assert Counter(found) == {(r, m): n for r, n in ranks.items() for m in MOVES}
    for trace in traces.values():
        spans = sorted(trace.spans, key=lambda span: span.start)
        for one, other in pairwise(spans):
            assert one.role == other.role or one.end <= other.start, (one, other)


def test_ranks_shards_and_a_kill_change_no_figure(home, seen):
    done = subprocess.run(
        command("run_dir=alone", *ENGINE),
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, many = metrics(home / "alone"), metrics(home / "run")
    assert [(r["stage"], r["step"]) for r in one] == [(r["stage"], r["step"]) for r in many]
    for alone, spread in zip(one, many, strict=True):
        assert alone.keys() == spread.keys()
        for name in alone.keys() - {"stage", "step"}:
            wanted = pytest.approx(alone[name], abs=CLOSE, rel=CLOSE)
            assert spread[name] == wanted, (name, alone["stage"], alone["step"])
