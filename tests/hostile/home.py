"""A working folder with a tiny model and a few rows, in which hostile command lines are tried."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import models
from tests.hostile.forks import run, write_rows
from tests.hostile.functions import HANGS_S, Case
from tests.hostile.overrides import Line

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
    (folder / "good.py").write_text("f = lambda completions: [1.0] * len(completions)")
    return folder


def try_function(home: Path, case: Case) -> str | None:
    """Run one PPO step against a function; return what is wrong with how it ended."""
    folder = _folder(home)
    (folder / "own.py").write_text(case.source, encoding="utf-8")
    limit = (f"reward.timeout_s={HANGS_S}",) if case.hangs else ()
    asked = ("ppo", "run_dir=run", *SETTINGS, f"reward.function={case.spec}", *limit)
    return run(folder, asked).fault(works=case.works)


def try_line(home: Path, line: Line) -> str | None:
    """Run one PPO step with further settings; return what is wrong with how it ended."""
    asked = ("ppo", "run_dir=run", *SETTINGS, "reward.function=good.py:f", *line.typed)
    return run(_folder(home), asked).fault(works=line.works)


def _folder(home: Path) -> Path:
    folder = Path(tempfile.mkdtemp(dir=home))
    for name in ("model", "prompts.jsonl", "good.py"):
        (folder / name).symlink_to(home / name)
    return folder
