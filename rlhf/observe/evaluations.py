"""Evaluations: RUN/evaluation.json has the run's verdict, RUN/evaluations/ all there ever were."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from rlhf.observe.files import EVALUATION, Row, read_object, replace_text

FOLDER: Final = "evaluations"
SHA256: Final = "inputs_sha256"
SUBJECT: Final = ("judge", "prompts", "candidate_path", "baseline_path")
"""What an evaluation is of."""


def keep(run_dir: Path, verdict: Mapping[str, object], *, of_the_run: bool) -> Path:
    """Write a verdict to RUN/evaluations/JUDGE-on-PROMPTS-HASH.json; return that file.

    It becomes the run's verdict, RUN/evaluation.json, as well: where it is made by a training
    command, where there is none yet, and where the one there is of the same judge, prompts and
    policies. No other verdict is replaced.

    Args:
        run_dir: The run's folder, RUN.
        verdict: Figures, SUBJECT and SHA256.
        of_the_run: Whether a training command made it.
    """
    text = json.dumps(verdict, indent=2) + "\n"
    file = run_dir / FOLDER / _name(verdict)
    file.parent.mkdir(exist_ok=True)
    replace_text(file, text)
    there = read_object(run_dir / EVALUATION)
    if of_the_run or not there or all(there.get(key) == verdict[key] for key in SUBJECT):
        replace_text(run_dir / EVALUATION, text)
    return file


def find(run_dir: Path, sha256: str, *, of_the_run: bool) -> Row | None:
    """Return the verdict made from these inputs, if there is one; it becomes the run's if asked.

    Args:
        run_dir: The run's folder, RUN.
        sha256: Its SHA256.
        of_the_run: Whether a training command asks, whose verdict is the run's.
    """
    own = read_object(run_dir / EVALUATION)
    found = next((row for row in kept(run_dir) if row.get(SHA256) == sha256), None)
    # A kill may have come between the two files.
    if found is not None and found != own and (of_the_run or not own):
        keep(run_dir, found, of_the_run=of_the_run)
    return found


def kept(run_dir: Path) -> list[Row]:
    """Return all verdicts, by name; the run's own first, once."""
    own = read_object(run_dir / EVALUATION)
    others = [read_object(file) for file in sorted((run_dir / FOLDER).glob("*.json"))]
    found = [own, *(row for row in others if row != own)]
    return [row for row in found if row]


def forget(run_dir: Path, policy: str) -> None:
    """Drop the run's verdict, and all others of a policy of the run that is trained anew."""
    (run_dir / EVALUATION).unlink(missing_ok=True)
    for file in (run_dir / FOLDER).glob("*.json"):
        row = read_object(file)
        if policy in (row.get("candidate_path"), row.get("baseline_path")):
            file.unlink()


def _name(verdict: Mapping[str, object]) -> str:
    prompts = cast("list[str]", verdict["prompts"])
    parts = [_slug(str(verdict["judge"])), "on", *(_slug(path) for path in prompts)]
    return f"{'-'.join(parts)[:120]}-{str(verdict[SHA256])[:8]}.json"


def _slug(path: str) -> str:
    """Return the last part of a path, in letters that every disk takes."""
    return re.sub(r"[^\w.]+", "_", path.rpartition("/")[2]).strip("_") or "x"
