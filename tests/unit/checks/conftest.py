"""A PPO run that would work, to be broken one thing at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rlhf.checks.context import CheckContext
from tests import models


@pytest.fixture
def context(tmp_path, folder):
    """Make the case of a command; keyword sections change its settings."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"film {i}"}) + "\n" for i in range(8)))
    messages = [{"role": "user", "content": "a film"}]
    (tmp_path / "chat.jsonl").write_text(json.dumps({"prompt": messages}) + "\n")
    reward = tmp_path / "reward.py"
    reward.write_text("def one(completions, **columns):\n    return [1.0] * len(completions)\n")

    def make(command: str = "ppo", backend: str = "torch", **sections: object) -> CheckContext:
        given = {
            "policy": {"path": folder()},
            "data": {"prompts": str(prompts)},
            "reward": {"function": f"{reward}:one"},
            **sections,
        }
        run_dir = given.pop("run_dir", str(tmp_path / "run"))
        experiment = models.experiment(backend, **given)
        return CheckContext(command, experiment.model_copy(update={"run_dir": run_dir}))

    return make


@pytest.fixture
def copied(folder, tmp_path):
    """Copy a model folder, to be broken."""

    def copy(kind: str = "causal") -> Path:
        return Path(shutil.copytree(folder("llama", kind), tmp_path / f"broken_{kind}"))

    return copy
