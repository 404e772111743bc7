"""The command line in this process, on a few made-up rows and a model of a few thousand weights."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlhf.cli.main import main

GOOD, BAD = ("good", "fine", "great", "lovely"), ("bad", "dull", "poor", "awful")
NOUNS = ("film", "plot", "cast", "score", "scene")
CLOCKED = ("time/", "busy/", "idle/", "speed/")
ENGINE = ("cluster.backend=in_process", "engine.backend=torch")
NEW = (
    "policy.new.hidden_size=32",
    "policy.new.num_layers=2",
    "policy.new.num_heads=2",
    "policy.new.vocab_size=300",
    "policy.new.context=96",
)
SMALL = (
    "sft.batch_size=8",
    "sft.optimizer.lr=3e-3",
    "reward_model.batch_size=8",
    "reward_model.optimizer.lr=1e-3",
    "ppo.num_steps=3",
    "ppo.rollout_batch_size=8",
    "ppo.minibatch_size=4",
    "ppo.num_epochs=2",
    "policy.optimizer.lr=1e-4",
    "value.optimizer.lr=1e-3",
    "generation.max_new_tokens=8",
    "tracking.sample_prompts=3",
)
SOURCES = (
    "data.demonstrations=demonstrations.jsonl",
    "data.preferences=preferences.jsonl",
    "data.prompts=prompts.jsonl",
)
FAST = (*ENGINE, *NEW, *SMALL)
REWARD = """
def length(completions, **columns):
    return [float(len(text)) for text in completions]

def wanted(completions, wanted, **columns):
    return [float(word in text) for word, text in zip(wanted, completions)]

def short(completions, **columns):
    return [1.0]

def not_a_number(completions, **columns):
    return [float("nan")] * len(completions)

def raises(completions, **columns):
    raise KeyError("on purpose")

def needs(completions, nowhere):
    return [0.0] * len(completions)

number = 3
"""


@dataclass(frozen=True)
class Outcome:
    """What one command line came to."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def rlhf(capsys) -> Command:
    """Run one command line in this process; always ends, with its exit code and what it said."""

    def run(*arguments: str) -> Outcome:
        argv = sys.argv
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        finally:
            sys.argv = argv
        said = capsys.readouterr()
        return Outcome(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working folder with the made-up data in it."""
    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(home: Path, *arguments: str) -> Path:
    """Run one command in a folder with the made-up data, for a fixture of a whole module."""
    before = Path.cwd()
    write_data(home)
    os.chdir(home)
    try:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    finally:
        os.chdir(before)
    assert ended.value.code == 0
    return home


def write_data(folder: Path, num_rows: int = 40) -> None:
    """Write demonstrations, preferences, prompts and a file of reward functions."""
    texts = [f"The {NOUNS[i % 5]} number {i} was" for i in range(num_rows)]
    good = [f" {GOOD[i % 4]}" for i in range(num_rows)]
    bad = [f" {BAD[(3 * i + 1) % 4]}" for i in range(num_rows)]
    rows = range(num_rows)
    write(
        folder / "demonstrations.jsonl",
        [{"prompt": texts[i], "completion": good[i] + " indeed"} for i in rows],
    )
    write(
        folder / "preferences.jsonl",
        [{"prompt": texts[i], "chosen": good[i], "rejected": bad[i]} for i in rows],
    )
    write(folder / "prompts.jsonl", [{"prompt": texts[i], "wanted": good[i].strip()} for i in rows])
    (folder / "reward.py").write_text(REWARD, encoding="utf-8")


def write(path: Path, rows: Sequence[object]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def metrics(run: Path) -> list[dict[str, object]]:
    """Return every recorded step, without what a clock says."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [
        {
            "stage": row["stage"],
            "step": row["step"],
            **{k: v for k, v in row["metrics"].items() if not k.startswith(CLOCKED)},
        }
        for row in map(json.loads, lines)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder by its name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
