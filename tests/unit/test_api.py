"""The Python door: light to open, typed, and the same runs, files and errors as the command."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import get_args

import pytest
import torch

import rlhf
from rlhf import api
from rlhf.catalog.stages import STAGES
from rlhf.cli.main import COMMANDS, main
from tests.integration.conftest import ENGINE, SMALL, write_data

LIGHT = """
import sys, rlhf
assert len([name for name in sys.modules if name.startswith("rlhf")]) == 1, "only what is used"
rlhf.ConfigError, rlhf.read_run
try:
    rlhf.load_config("ppo", ["ppo.kl_ceof=1"])
except rlhf.RLHFError as error:
    print(error)
rlhf.load_config("ppo")
heavy = {"torch", "transformers", "ray", "deepspeed", "datasets"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture
def ppo(tmp_path, folder):
    """Load a PPO of three steps in this process; its folder is tmp_path/run."""
    write_data(tmp_path)

    def make(*more, run="run", command="ppo"):
        given = [
            f"policy.path={folder()}",
            f"data.prompts={tmp_path}/prompts.jsonl",
            f"reward.function={tmp_path}/reward.py:length",
            f"run_dir={tmp_path / run}",
            "tracking.console=false",
        ]
        return rlhf.load_config(command, [*ENGINE, *SMALL, *given, *more])

    return make


def test_importing_and_loading_settings_brings_no_torch():
    done = subprocess.run(
        [sys.executable, "-c", LIGHT], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "ppo.kl_ceof: unknown setting; nearest: ppo.kl_coef\n"


def test_all_that_is_offered_is_there_and_nothing_else():
    for name in rlhf.__all__:
        assert getattr(rlhf, name) is not None
        assert name in dir(rlhf)
    assert rlhf.load_config is api.load_config
    with pytest.raises(AttributeError, match="no attribute 'train'"):
        rlhf.train  # noqa: B018 - asking is the test
    stages = {stage.name for stage in STAGES}
    assert set(get_args(api.Command)) == {"pipeline", *stages, "evaluate"} <= set(COMMANDS)


def test_steps_come_while_it_trains_and_are_those_that_the_run_records(ppo, tmp_path):
    config, seen = ppo(), []
    for step in rlhf.steps(config):
        lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
        seen.append(step)
        assert len(lines) == len(seen), "it is not ahead"
        assert not (tmp_path / "run/policy").exists()
    assert [(step.stage, step.step) for step in seen] == [("ppo", 0), ("ppo", 1), ("ppo", 2)]
    rows = [json.loads(line)["metrics"] for line in lines]
    assert [dict(step.metrics) for step in seen] == rows
    assert (tmp_path / "run/policy/config.json").is_file()
    assert list(rlhf.steps(config)) == [], "a finished stage yields nothing"
    assert not [thread for thread in threading.enumerate() if thread.name == "rlhf run"]


def test_leaving_the_loop_stops_the_run_and_the_same_config_goes_on(ppo, tmp_path):
    config = ppo("checkpoint.every=1")
    for step in rlhf.steps(config):
        if step.step == 1:
            break
    metrics = tmp_path / "run/metrics.jsonl"
    assert len(metrics.read_text().splitlines()) == 2
    assert not (tmp_path / "run/policy").exists()
    assert [step.step for step in rlhf.steps(config)] == [1, 2], "from the last checkpoint"
    whole = rlhf.run(ppo(run="whole")).metrics["ppo"]
    again = rlhf.read_run(tmp_path / "run").metrics["ppo"]
    for name in ("objective/scores", "objective/kl", "loss/policy_avg"):
        torch.testing.assert_close([r[name] for r in again], [r[name] for r in whole])


def test_a_run_is_read_as_plain_lists_and_dicts(ppo, tmp_path):
    argv = sys.argv
    run = rlhf.run(ppo(f"evaluation.judge={tmp_path}/reward.py:length", "evaluation.num_prompts=4"))
    assert sys.argv is argv
    assert run == rlhf.read_run(str(tmp_path / "run"))
    assert [row["step"] for row in run.metrics["ppo"]] == [0, 1, 2]
    assert {type(value) for row in run.metrics["ppo"] for value in row.values()} <= {int, float}
    (verdict,) = run.evaluations
    assert verdict == json.loads((tmp_path / "run/evaluation.json").read_text())
    assert {(row["stage"], row["step"]) for row in run.samples} == {("sft", 0), ("ppo", 3)}
    assert all(isinstance(row["response"], str) for row in run.samples)
    command = run.manifest["command"]
    assert str(command).startswith("rlhf ppo ") and f"run_dir={tmp_path}/run" in str(command)


def test_it_is_the_run_of_the_command_line(ppo, tmp_path):
    config = ppo()
    rows = rlhf.run(config).metrics["ppo"]
    typed = [word for word in config.overrides if not word.startswith("run_dir=")]
    with pytest.raises(SystemExit) as ended:
        main(["ppo", *typed, f"run_dir={tmp_path}/typed"])
    assert ended.value.code == 0
    for mine, theirs in zip(rows, rlhf.read_run(tmp_path / "typed").metrics["ppo"], strict=True):
        clocked = ("time/", "busy/", "idle/", "speed/")
        assert {k: v for k, v in mine.items() if not k.startswith(clocked)} == {
            k: v for k, v in theirs.items() if not k.startswith(clocked)
        }


def test_an_error_is_raised_where_the_steps_are_read(ppo, tmp_path):
    bad = ppo(f"reward.function={tmp_path}/reward.py:nothing_there")
    with pytest.raises(rlhf.ConfigError, match="nothing_there"):
        next(rlhf.steps(bad))
    with pytest.raises(rlhf.ConfigError, match="nothing_there"):
        rlhf.run(bad)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: rlhf.load_config("train"), "command='train': legal: pipeline, sft"),
        (lambda: rlhf.load_config("ppo", "seed=1"), "overrides='seed=1' is one text"),
        (lambda: rlhf.load_config("ppo", ["sweep.parallel=2"]), "sweep.parallel=2 is for a sweep"),
        (lambda: rlhf.read_run(os.devnull), "holds no run"),
    ],
)
def test_what_is_wrong_is_one_line(ask, told):
    with pytest.raises(rlhf.ConfigError, match=told) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_the_example_of_the_page_runs(tmp_path, folder, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs/python_api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write_data(tmp_path)
    (tmp_path / "my_reward.py").write_text(
        "def score(completions, **columns):\n    return [float(len(c)) for c in completions]\n"
    )
    shutil.copytree(folder(), tmp_path / "models/mine")
    monkeypatch.chdir(tmp_path)
    Path("example.py").write_text(example)
    found = runpy.run_path("example.py")
    assert len(found["scores"]) == 3 and found["answers"]
    assert "ppo 2 " in capsys.readouterr().out
    for call in ("load_config", "run", "steps", "read_run"):
        assert f"| `rlhf.{call}(" in page
    for field in dataclasses.fields(rlhf.RunRecord):
        assert field.name == "folder" or f"`{field.name}`" in page, field.name
