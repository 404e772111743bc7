"""The pipeline on three Ray nodes with their own addresses, handed in from a place that is none."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.integration.conftest import ENGINE, NEW, SMALL, SOURCES, metrics, write_data
from tests.integration.nodes import ROOT, SUBNET, Network, environment, why_not

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no nodes on this machine: {WHY_NOT}"),
]

HEAD = f"{SUBNET}.1"
DASHBOARD = f"http://{HEAD}:8265"
# Two cores a node: three ranks of the policy cannot sit on one.
CORES, SPREAD = 2, ("cluster.policy.ranks=3", "engine.zero_stage=2", "cluster.timeout_s=200")
RANKS = 6
LENGTH = ("ppo.num_steps=6", "checkpoint.every=2", "policy.optimizer.eps=1e-3")
RUN = ("pipeline", *NEW, *SMALL, *SOURCES, *LENGTH)
CLOSE = 1e-5
WAIT_S = 500.0


ALIVE = """
import json, os, sys, urllib.request as web
token = {"Authorization": "Bearer " + os.environ["RAY_AUTH_TOKEN"]}
with web.urlopen(web.Request(sys.argv[1], headers=token), timeout=20) as answer:
    for node in json.load(answer)["data"]["summary"]:
        if "ip" in node:
            print(node["ip"], node["raylet"]["state"])
"""
"""Prints the address and the state of every node that the cluster has known."""


class Cluster:
    """Ray as a user would start it: a head, and nodes that join it by its address."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def start(self, number: int) -> None:
        """Boot a node whose Ray is the head, or joins it."""
        own = ("--node-ip-address", f"{SUBNET}.{number}", "--num-cpus", str(CORES), "--block")
        small = ("--object-store-memory", "100000000")
        head = ("--head", "--port", "6379", "--dashboard-host", HEAD)
        kind = head if number == 1 else ("--address", f"{HEAD}:6379")
        self.network.boot(number, "ray", "start", *kind, *own, *small)

    def wait_for(self, alive: int) -> None:
        """Wait until the head knows of so many living nodes."""
        until, seen = time.monotonic() + WAIT_S, ""
        while seen.count(" ALIVE") != alive:
            assert time.monotonic() < until, seen
            time.sleep(0.5)
            # Ray gives a node half a minute to start, too little on a machine at its limit.
            for number, node in list(self.network.nodes.items()):
                if node.process.poll() is not None:
                    self.start(number)
            asked = (sys.executable, "-S", "-c", ALIVE, f"{DASHBOARD}/nodes?view=summary")
            seen = subprocess.run(
                self.network.inside(*asked),
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
            ).stdout

    def client(self, home: Path, *arguments: str, **changes: str) -> Client:
        """Start a command line in a folder, on no node."""
        said = home / f"client{time.monotonic_ns()}"
        with said.open("wb") as out:
            process = subprocess.Popen(
                self.network.inside(sys.executable, "-m", *arguments),
                cwd=home,
                env=environment(**changes),
                stdout=out,
                stderr=out,
            )
        return Client(process, said)

    def submit(self, home: Path, *arguments: str, **changes: str) -> Client:
        """Start `rlhf submit`."""
        return self.client(home, "rlhf", "submit", "--address", DASHBOARD, *arguments, **changes)

    def roles(self) -> dict[str, list[str]]:
        """Return which role processes are on which node: one entry a rank."""
        found: dict[str, list[str]] = {}
        for node in self.network.nodes.values():
            for process in psutil.Process(node.process.pid).children(recursive=True):
                try:
                    name = process.cmdline()[0]
                except (psutil.Error, IndexError):
                    continue
                if name.startswith("ray::") and "Worker" in name:
                    # While an actor is made, its name stands before its class.
                    role = name.rpartition(":")[2].partition("Worker")[0].lower()
                    found.setdefault(role, []).append(node.name)
        return found


@dataclass(frozen=True)
class Client:
    """A command line under way, and where it writes what it says."""

    process: subprocess.Popen[bytes]
    file: Path

    def said(self) -> str:
        return self.file.read_text(encoding="utf-8", errors="replace")

    def ends(self) -> int:
        """Wait for it; return its exit code."""
        return self.process.wait(timeout=WAIT_S)

    def wait_for(self, words: str) -> None:
        """Wait until it has said something."""
        until = time.monotonic() + WAIT_S
        while words not in self.said():
            assert self.process.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes; every process on them ends with the module."""
    with Network(tmp_path_factory.mktemp("nodes"), environment()) as network:
        started = Cluster(network)
        for number in (1, 2, 3):
            started.start(number)
        started.wait_for(3)
        yield started


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    write_data(folder)
    return folder


def ppo_steps(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return sum(json.loads(line)["stage"] == "ppo" for line in lines if line.endswith("\n"))


@dataclass(frozen=True)
class Story:
    """What became of one run: handed in, watched, left alone, struck, and handed in again."""

    handed_in: Client
    left: Client
    struck: Client
    again: Client
    roles: dict[str, list[str]]


@pytest.fixture(scope="module")
def story(cluster, home):
    """Kill the third node in the middle of PPO; give the same command again to those left."""
    run = (*RUN, *SPREAD, f"run_dir={home}/run")
    handed_in = cluster.submit(home, "--id", "first", "--no-wait", *run)
    assert handed_in.ends() == 0, handed_in.said()
    left = cluster.submit(home, "--id", "first")
    left.wait_for("batch arithmetic")
    left.process.send_signal(signal.SIGINT)
    left.ends()
    struck, roles = cluster.submit(home, "--id", "first", *run), {}
    while ppo_steps(home / "run") < 3:
        assert struck.process.poll() is None, struck.said()
        roles = roles if sum(map(len, roles.values())) == RANKS else cluster.roles()
        time.sleep(0.05)
    cluster.network.nodes[3].kill()
    struck.ends()
    del cluster.network.nodes[3]
    cluster.wait_for(2)
    again = cluster.submit(home, *run)
    again.ends()
    return Story(handed_in, left, struck, again, roles)


def test_every_role_runs_and_the_policys_ranks_are_on_several_nodes(story):
    assert {role: len(ranks) for role, ranks in story.roles.items()} == {
        "policy": 3,
        "reference": 1,
        "reward": 1,
        "value": 1,
    }
    assert len(set(story.roles["policy"])) > 1
    assert {node for ranks in story.roles.values() for node in ranks} == {"node1", "node2", "node3"}


def test_a_job_that_is_not_waited_for_is_told_how_to_find_it(story):
    assert f"rlhf submit --address {DASHBOARD} --id first" in story.handed_in.said()
    assert "files" in story.handed_in.said()


def test_ctrl_c_leaves_the_job_alone_and_says_so(story):
    assert story.left.process.returncode == 130
    assert "job first goes on" in story.left.said()
    assert f"ray job stop --address {DASHBOARD} first" in story.left.said()


def test_a_dying_node_ends_the_job_with_code_3_and_is_named_with_role_and_rank(story):
    assert story.struck.process.returncode == 3, story.struck.said()
    last = story.struck.said().partition("Supervised fine-tuning")[2]
    assert "ppo  3/6" in last
    named = rf"(policy|value|reward|reference) rank \d of \d on (node|{SUBNET}\.)\d"
    assert re.search(named, last), last
    assert "node3" in last or f"{SUBNET}.3" in last, last


def test_the_same_command_goes_on_with_the_nodes_that_are_left(story):
    assert story.again.process.returncode == 0, story.again.said()
    assert "going on from step 2" in story.again.said()
    assert "is done" in story.again.said()


def test_the_manifest_says_on_how_many_nodes_each_stage_ended(story, home):
    stages = json.loads((home / "run/manifest.json").read_text())["stages"]
    assert {name: of["nodes"] for name, of in stages.items()} == {
        "sft": 3,
        "reward_model": 3,
        "ppo": 2,
    }


def test_nodes_ranks_and_a_lost_node_change_no_figure(story, home):
    alone = [sys.executable, "-m", "rlhf", *RUN, *ENGINE, "run_dir=alone"]
    subprocess.run(alone, cwd=home, env=environment(), check=True, capture_output=True)
    one, many = metrics(home / "alone"), metrics(home / "run")
    assert [(r["stage"], r["step"]) for r in one] == [(r["stage"], r["step"]) for r in many]
    for here, spread in zip(one, many, strict=True):
        for name in here.keys() - {"stage", "step"}:
            wanted = pytest.approx(here[name], abs=CLOSE, rel=CLOSE)
            assert spread[name] == wanted, (name, here["stage"], here["step"])
    for kind in ("policy", "value", "sft", "reward_model"):
        here, spread = (
            load_file(home / run / kind / "model.safetensors") for run in ("alone", "run")
        )
        for name in here:
            torch.testing.assert_close(spread[name], here[name], rtol=CLOSE, atol=CLOSE)


def test_a_stopped_job_is_no_success(cluster, home):
    job = cluster.submit(home, "--id", "halted", "sft", *NEW, *SOURCES, f"run_dir={home}/halted")
    job.wait_for("Running entrypoint")
    stop = cluster.client(
        home, "ray.scripts.scripts", "job", "stop", "--address", DASHBOARD, "halted"
    )
    assert stop.ends() == 0, stop.said()
    assert job.ends() == 130, job.said()
    assert "job halted was stopped" in job.said()
    taken = cluster.submit(home, "--id", "halted", "doctor")
    assert taken.ends() == 2
    assert "--id halted is taken" in taken.said()


def test_a_checkout_ships_its_own_code_and_a_wrong_setting_ends_with_code_2(cluster, tmp_path):
    for folder in ("rlhf", "conf", "examples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    load = tmp_path / "rlhf" / "config" / "load.py"
    load.write_text(load.read_text().replace("unknown setting", "not a setting of ours"))
    job = cluster.submit(tmp_path, "--env", "NOTE=here", "doctor", "ppo.kl_cof=1")
    assert job.ends() == 2, job.said()
    assert "ppo.kl_cof: not a setting of ours" in job.said()


def test_another_token_is_refused(cluster, home):
    job = cluster.submit(home, "--id", "first", RAY_AUTH_TOKEN="f" * 64)
    assert job.ends() == 2
    assert "refuses the token" in job.said()
