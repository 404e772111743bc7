"""A run on Ray whose processes are killed or stopped again and again, until it has ended.

`python -m tests.kills.on_ray [KILLS] [SEED]` prints each, and compares the result with a run that
nobody touched.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.integration.conftest import NEW, SMALL, SOURCES, write_data
from tests.kills.kills import differences, result

ROOT = Path(__file__).resolve().parents[2]
VICTIMS = ("driver", "ray::Policy", "ray::Reference", "ray::Reward", "ray::Value", "raylet", "gcs")
COMMAND = (
    "pipeline",
    "run_dir=run",
    *NEW,
    *SMALL,
    *SOURCES,
    "evaluation.judge=reward.py:length",
    "ppo.num_steps=40",
    "checkpoint.every=2",
    "cluster.policy.ranks=2",
    "engine.zero_stage=2",
    "cluster.max_restarts=1000",
    "cluster.hang_s=6",
    "cluster.timeout_s=120",
)
LONGEST_S, SHORTEST_S = 12.0, 0.0
"""A kill comes between these after the victim is there."""
STOPPED = 0.15
"""Share of the victims that are stopped, and not killed."""


@dataclass(frozen=True)
class Survived:
    """What a run went through."""

    codes: tuple[int, ...]
    """Exit codes of the commands, one after another; the last is 0."""
    hits: Counter[str]
    """Kills and stops, by victim."""


def run(home: Path, kills: int = 0, seed: int = 0) -> Survived:
    """Run the command until it ends with 0; hit its processes so many times on the way."""
    home.mkdir()
    write_data(home)
    draw, hits, codes = random.Random(seed), Counter[str](), list[int]()
    while not codes or codes[-1]:
        process = _start(home)
        while process.poll() is None:
            if hits.total() < kills:
                _hit(process, draw, hits)
            time.sleep(0.1)
        codes.append(process.returncode)
        if len(codes) > kills + 1:
            raise AssertionError((home / "said.txt").read_text()[-3000:])
    return Survived(tuple(codes), hits)


def _start(home: Path) -> subprocess.Popen[bytes]:
    with (home / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "rlhf", *COMMAND],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def _hit(process: subprocess.Popen[bytes], draw: random.Random, hits: Counter[str]) -> None:
    """Wait until a victim is there, and a moment longer; then kill or stop it."""
    name, wait_s = draw.choice(VICTIMS), draw.uniform(SHORTEST_S, LONGEST_S)
    is_stopped = draw.random() < STOPPED and name.startswith("ray::")
    while process.poll() is None and not _found(process, name):
        time.sleep(0.1)
    until = time.monotonic() + wait_s
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    victims = _found(process, name)
    if process.poll() is None and victims:
        draw.choice(victims).send_signal(signal.SIGSTOP if is_stopped else signal.SIGKILL)
        hits[f"{name} {'stopped' if is_stopped else 'killed'}"] += 1


def _found(process: subprocess.Popen[bytes], name: str) -> list[psutil.Process]:
    try:
        driver = psutil.Process(process.pid)
        below = driver.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return [driver] if name == "driver" else [p for p in below if _is_called(p, name)]


def _is_called(process: psutil.Process, name: str) -> bool:
    try:
        title = " ".join(process.cmdline())
        return (
            title.startswith(name) if name.startswith("ray::") else process.name().startswith(name)
        )
    except psutil.Error:
        return False


def main() -> None:
    """Hit one run as often as the first argument says, 24 times if it says nothing."""
    kills, seed = (int(word) for word in (*sys.argv[1:], *("24", "0")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as scratch:
        home, start = Path(scratch), time.monotonic()
        run(home / "quiet")
        quiet_s = time.monotonic() - start
        survived = run(home / "hit", kills, seed)
        changed = differences(result(home / "quiet/run"), result(home / "hit/run"))
        told = (home / "hit/said.txt").read_text(errors="replace")
    print(f"seed {seed}: {dict(survived.hits)}, exit codes {survived.codes}")
    print(f"{quiet_s:.0f} s without, {time.monotonic() - start - quiet_s:.0f} s with them")
    lines = told.splitlines()
    print("\n".join(line for line in lines if line.startswith("rlhf: ")))
    for number in (number for number, line in enumerate(lines) if "Traceback" in line):
        print("\n".join(lines[number : number + 60]))
    print(f"what differs: {changed or 'nothing'}")
    sys.exit(bool(changed))


if __name__ == "__main__":
    main()
