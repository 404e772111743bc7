"""Sweeps: one folder a trial, one table, early cuts, several at a time, interrupted and gone on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import ENGINE, FAST, SMALL, SOURCES, finished, metrics

pytestmark = pytest.mark.timeout(400)

LENGTHS = ("data.prompts=prompts.jsonl", "reward.function=reward.py:length")
WILD = "policy.optimizer.lr=0.0001,0.05"
"""The second leaves the reference behind within a few steps."""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder with the made-up data and a fine-tuned policy."""
    return finished(tmp_path_factory.mktemp("start"), "sft", "run_dir=s", *FAST, *SOURCES[:1])


@pytest.fixture
def place(start, tmp_path, monkeypatch):
    """A copy of it, as the working folder."""
    shutil.copytree(start, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(place: Path) -> dict[str, dict[str, object]]:
    """Every trial's row of sweep.json by what it changes."""
    rows = json.loads((place / "s/sweep.json").read_text())["trials"]
    return {",".join(row["settings"].values()): row for row in rows}


def test_a_trial_that_diverges_is_cut_told_and_not_tried_again(place, rlhf):
    asked = ("ppo", "-m", "run_dir=s", *ENGINE, *SMALL, *LENGTHS, "ppo.num_steps=8", WILD)
    outcome = rlhf(*asked, "sweep.max_kl=1")
    assert outcome.code == 0, outcome.err
    rows = told(place)
    assert rows["0.0001"]["outcome"] == "done" and rows["0.0001"]["steps"] == 8
    assert rows["0.05"]["outcome"] == "cut" and 3 <= rows["0.05"]["steps"] < 8
    assert "cut at step" in outcome.out and "Trials, best first" in outcome.out
    page = (place / "s/sweep.html").read_text()
    assert 'href="policy.optimizer.lr=0.05/report.html"' in page and 'class="ring"' in page
    cut = place / "s/policy.optimizer.lr=0.05"
    assert (cut / "report.html").is_file()

    before = (cut / "metrics.jsonl").read_bytes()
    again = rlhf(*asked, "sweep.max_kl=1")
    assert again.code == 0 and again.out.count("policy: already done") == 1
    assert (cut / "metrics.jsonl").read_bytes() == before
    assert told(place) == rows

    further = rlhf(*asked, "sweep.max_kl=1e9")
    assert further.code == 0, further.err
    assert told(place)["0.05"]["outcome"] == "done"


def test_a_run_that_is_no_trial_is_cut_the_same_way(place, rlhf):
    single = ("policy.path=s/sft", "policy.optimizer.lr=0.05", "ppo.num_steps=8", "sweep.max_kl=2")
    outcome = rlhf("ppo", "run_dir=one", *ENGINE, *SMALL, *LENGTHS, *single)
    assert outcome.code == 4
    assert "cut at step" in outcome.err and "sweep.max_kl=2" in outcome.err


def test_the_others_go_on_when_one_fails_and_its_code_is_the_sweeps(place, rlhf):
    rewards = "reward.function=reward.py:nothing_there,reward.py:length"
    outcome = rlhf("ppo", "-m", "run_dir=s", *ENGINE, *SMALL, LENGTHS[0], rewards)
    assert outcome.code == 2
    assert "1 of 2 trials failed" in outcome.err and "nothing_there" in outcome.err
    outcomes = [row["outcome"] for row in told(place).values()]
    assert outcomes == ["done", "failed"]


def test_a_trial_says_how_to_make_it_without_a_sweep(place, rlhf):
    asked = (*ENGINE, *SMALL, *LENGTHS)
    assert rlhf("ppo", "-m", "run_dir=s", *asked, "ppo.kl_coef=0.02,0.5").code == 0
    manifest = json.loads((place / "s/ppo.kl_coef=0.5/manifest.json").read_text())
    assert "ppo.kl_coef=0.5 " in manifest["command"] and " -m " not in manifest["command"]
    assert manifest["config"]["policy"]["path"] == "s/sft"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sweep.parallel=2",), "add -m"),
        (("-m", "hydra/launcher=joblib", "seed=1,2"), "hydra/launcher=joblib is not used"),
    ],
)
def test_what_would_do_nothing_is_refused(place, rlhf, words, said):
    outcome = rlhf("ppo", *words, *ENGINE, *SMALL, *LENGTHS, "policy.path=s/sft")
    assert outcome.code == 2 and said in outcome.err


def began(*words: str) -> subprocess.Popen[str]:
    """Start a sweep as a program of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rlhf", "ppo", "-m", "run_dir=s", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
    )


def wait_for(condition, seconds=200):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_an_interrupted_sweep_ends_its_trials_and_goes_on_from_their_checkpoints(place, rlhf):
    asked = (*ENGINE, *SMALL, *LENGTHS, "checkpoint.every=5", "ppo.kl_coef=0.02,0.5")
    sweep = began(*asked, "ppo.num_steps=100000", "sweep.parallel=2")
    logs = [place / f"s/ppo.kl_coef={coef}/metrics.jsonl" for coef in ("0.02", "0.5")]
    wait_for(lambda: all(log.is_file() and len(metrics(log.parent)) > 6 for log in logs))
    sweep.send_signal(signal.SIGINT)
    said, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 130, said
    assert [row["outcome"] for row in told(place).values()] == ["interrupted"] * 2
    recorded = [len(metrics(log.parent)) for log in logs]
    time.sleep(1)
    assert [len(metrics(log.parent)) for log in logs] == recorded

    outcome = rlhf("ppo", "-m", "run_dir=s", *asked, f"ppo.num_steps={max(recorded) + 3}")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("going on from step") == 2
    assert [row["steps"] for row in told(place).values()] == [max(recorded) + 3] * 2


@pytest.mark.ray
@pytest.mark.slow
def test_trials_share_a_ray_cluster_and_give_their_seats_back(place):
    changes = ("cluster.policy.ranks=1", "ppo.num_steps=2", "sweep.parallel=2")
    sweep = began(*SMALL, *LENGTHS, *changes, "ppo.kl_coef=0.02,0.1,0.5")
    said, _ = sweep.communicate(timeout=380)
    assert sweep.returncode == 0, said
    # Each takes its whole half of the cluster, so the third found room only when one had left.
    cores = len(os.sched_getaffinity(0))
    assert said.count("starting one Ray cluster") == 1
    assert f"for all trials: {2 * cores} CPUs" in said, "each trial finds all cores of the machine"
    assert {key: row["outcome"] for key, row in told(place).items()} == dict.fromkeys(
        ("0.02", "0.1", "0.5"), "done"
    )
    logs = [log.read_text() for log in (place / "s").glob("*/trial.log")]
    assert len(logs) == 3 and all(
        "starting policy, reference, reward, value" in log for log in logs
    )
    share = f"one of 2 runs at a time: at most {cores} CPUs"
    assert all(share in " ".join(log.split()) for log in logs)


def test_a_search_is_told_the_score_and_asks_for_more(place, rlhf):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "+hydra.sweeper.sampler.seed=1")
    asked = (*ENGINE, *SMALL, *LENGTHS, "ppo.kl_coef=interval(0.01,0.5)")
    outcome = rlhf("ppo", "-m", *search, "run_dir=s", *asked)
    assert outcome.code == 0, outcome.err
    rows = told(place)
    assert len(rows) == 3
    best = (place / "s/optimization_results.yaml").read_text()
    assert f"best_value: {max(row['score'] for row in rows.values())}" in best
    again = rlhf("ppo", "-m", *search, "run_dir=s", *asked)
    assert again.out.count("policy: already done") == 3
