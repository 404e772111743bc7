"""The same task by Ray actors over ZeRO: two policy processes come to the same policy as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.closed_form.kit import IN_PROCESS, learning
from tests.closed_form.tasks import counting

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
ON_RAY = ("cluster.policy.ranks=2", "engine.zero_stage=2", "cluster.timeout_s=120")
# A larger eps keeps AdamW from magnifying the rounding of its first steps.
STEADY = ("policy.optimizer.eps=1e-3", "value.optimizer.eps=1e-3")


def start(task, run: str, *where: str) -> None:
    """Run the task as a program of its own, to its end."""
    asked = [*task.arguments(task.home / run), *learning(steps=20, lr=1e-2), *STEADY, *where]
    done = subprocess.run(
        [sys.executable, "-m", "rlhf", *asked],
        cwd=task.home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_two_processes_on_ray_find_the_policy_that_one_finds(tmp_path):
    # correctness 55, 64: exact figures of both exported folders, response by response
    task = counting(tmp_path, horizon=4)
    start(task, "ray", *ON_RAY)
    start(task, "alone", *IN_PROCESS)
    many, one = (task.logprobs(tmp_path / run / "policy")["b"] for run in ("ray", "alone"))
    assert torch.allclose(many, one, atol=1e-4)
    assert task.gap(tmp_path / "ray/policy") <= 0.05
    assert task.gap(tmp_path / "ray/policy") == pytest.approx(
        task.gap(tmp_path / "alone/policy"), abs=1e-4
    )
