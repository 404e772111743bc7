"""verify: every changed byte of a run is found and named, and a whole run is said to be whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from rlhf.commands.table import run_command
from rlhf.commands.verify import verify_run
from rlhf.config.experiment import Experiment
from rlhf.errors import CheckpointError, ConfigError
from tests import models

NEW = {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 300}


def made(folder: Path, sections: dict[str, dict[str, object]]) -> Experiment:
    return models.experiment(**sections).model_copy(update={"run_dir": str(folder)})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    rows = [{"prompt": f"N {i}", "completion": " good"} for i in range(24)]
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reward = home / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")
    sections: dict[str, dict[str, object]] = {
        "policy": {"new": NEW, "optimizer": models.optimizer()},
        "ppo": {"num_steps": 2, "rollout_batch_size": 4, "minibatch_size": 4, "num_epochs": 1},
        "sft": {"batch_size": 8, "validate_every": 1},
        "generation": {"max_new_tokens": 6},
        "reward": {"function": f"{reward}:one"},
        "tracking": {"console": False},
        "data": {kind: str(home / "rows.jsonl") for kind in ("demonstrations", "prompts")},
    }
    run_command("pipeline", made(home / "run", sections))
    # What a kill in mid-stage leaves beside it: a checkpoint.
    sections["checkpoint"] = {"every": 1}
    sections["reward"] = {"function": f"{home / 'broken.py'}:two"}
    (home / "broken.py").write_text(
        "def two(completions, calls=[], **columns):\n"
        "    calls.append(1)\n"
        "    assert len(calls) < 3\n"
        "    return [1.0] * len(completions)\n"
    )
    with pytest.raises(Exception, match="two"):
        run_command("pipeline", made(home / "cut", sections))
    (home / "cut/checkpoints/ppo").rename(home / "run/checkpoints/ppo")
    return home / "run"


def test_a_whole_run_is_said_to_be_whole(run_dir: Path, capsys) -> None:
    verify_run([str(run_dir)])
    said = capsys.readouterr().out
    for part in ("run.json", "start", "sft", "policy", "value", "checkpoints/ppo/step_000001"):
        assert f"{run_dir / part}: " in said
    assert "evaluation.json" not in said


def test_every_file_that_changes_is_named(run_dir: Path, capsys) -> None:
    # One bit in the middle of each file that a later step reads; then the same files gone.
    kept = [run_dir / "run.json", run_dir / "manifest.json", run_dir / "metrics.jsonl"]
    for folder in ("start", "sft", "policy", "value", "checkpoints"):
        kept += [path for path in sorted((run_dir / folder).rglob("*")) if path.is_file()]
    assert len(kept) > 25
    for path in kept:
        content = path.read_bytes()
        middle = len(content) // 2
        # JSON without a hash of its own is only known to be JSON.
        byte = b"\0" if path.parent == run_dir else bytes([content[middle] ^ 1])
        damages = [content[:middle] + byte + content[middle + 1 :]]
        if path.name != "metrics.jsonl":  # an empty history is a history
            damages.append(b"")
        for damaged in damages:
            path.write_bytes(damaged)
            with pytest.raises(CheckpointError) as caught:
                verify_run([str(run_dir)])
            assert path.name in str(caught.value), path
        path.write_bytes(content)
    verify_run([str(run_dir)])


def test_all_that_is_damaged_is_told_at_once(run_dir: Path, capsys) -> None:
    paths = [run_dir / "sft/config.json", run_dir / "value/model.safetensors"]
    contents = [path.read_bytes() for path in paths]
    for path in paths:
        os.truncate(path, 10)
    with pytest.raises(CheckpointError) as caught:
        verify_run([f"run_dir={run_dir}"])
    for path, content in zip(paths, contents, strict=True):
        assert str(path) in str(caught.value)
        path.write_bytes(content)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("name", ["sft", "policy", "value"])
def test_the_model_of_a_finished_stage_must_be_there(run_dir: Path, tmp_path, name) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    shutil.rmtree(copy / "checkpoints")
    shutil.rmtree(copy / name)
    with pytest.raises(CheckpointError, match=rf"copy/{name} is missing, though"):
        verify_run([str(copy)])


def test_a_step_that_is_gone_is_told(run_dir: Path, tmp_path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    rows = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(rows[:-1]))
    with pytest.raises(CheckpointError, match=r"metrics.jsonl has 1 of the 2 steps that ppo took"):
        verify_run([str(copy)])


@pytest.mark.parametrize("asked", [[], ["a", "b"], ["--all"], ["nowhere"]])
def test_what_is_no_run_is_refused(asked: list[str]) -> None:
    with pytest.raises(ConfigError, match="rlhf verify RUN|holds no run"):
        verify_run(asked)
