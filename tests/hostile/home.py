"""A working folder with a tiny model and a few rows, in which hostile command lines are tried."""

from __future__ import annotations

from pathlib import Path

from tests import models
from tests.hostile.forks import write_rows

SETTINGS = (
    "policy.path=model",
    "data.prompts=prompts.jsonl",
    "cluster.backend=in_process",
    "engine.backend=torch",
    "engine.precision=fp32",
    "algorithm=reinforce_pp",
    "ppo.num_steps=1",
    "ppo.rollout_batch_size=8",
    "ppo.minibatch_size=8",
    "ppo.num_epochs=1",
    "generation.max_new_tokens=4",
    "tracking.sample_prompts=0",
    "tracking.console=false",
    "data.validation_fraction=0",
    "data.test_fraction=0",
)
"""One PPO step of the fewest tokens, without a value role."""


def make_home(folder: Path) -> Path:
    """Write the model and the rows; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    models.write(models.causal(), folder / "model")
    write_rows(folder / "prompts.jsonl", [{"prompt": f"the film {i} was"} for i in range(12)])
    return folder
