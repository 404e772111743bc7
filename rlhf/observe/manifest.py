"""Manifest: what a run was made of, so that it can be identified and reproduced."""

from __future__ import annotations

import json
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from rlhf import __version__
from rlhf.observe.files import MANIFEST, read_object, replace_text
from rlhf.observe.machine import describe_machine
from rlhf.observe.source import LARGEST_PATCH, PATCH, checkout, describe_source

PACKAGES = ("torch", "transformers", "deepspeed", "ray", "peft", "datasets", "hydra-core", "wandb")


def write_manifest(
    run_dir: Path,
    command: str,
    typed: Sequence[str],
    config: Mapping[str, object],
    data: Mapping[str, Mapping[str, object]],
) -> None:
    """Write RUN/manifest.json; what finished stages noted there before stays.

    Args:
        run_dir: RUN. Changes on top of the commit go to its dirty.patch, unless they are large.
        command: sft, reward_model, ppo or pipeline.
        typed: The whole command line.
        config: The whole configuration, as JSON can keep it.
        data: Facts on each source (sha256, rows), by its path.
    """
    before = read_object(run_dir / MANIFEST)
    manifest = {
        "rlhf_version": __version__,
        "command": shlex.join(typed),
        "working_folder": str(Path.cwd()),
        "created": before.get("created", time.time()),
        "seed": config["seed"],
        **_here(run_dir),
        "data": {**_mapping(before.get("data")), **data},
        "stages": _mapping(before.get("stages")),
        "reward": before.get("reward", []),
        "restarts": before.get("restarts", []),
        "config": config,
        "settings_of": {**_mapping(before.get("settings_of")), command: config},
    }
    replace_text(run_dir / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _here(run_dir: Path) -> dict[str, dict[str, object]]:
    """Describe versions, code and machine; keep the changes on top of the commit as a patch."""
    found, patch = surroundings()
    keep = run_dir / PATCH
    keep.unlink(missing_ok=True)
    if 0 < len(patch) <= LARGEST_PATCH:
        keep.write_bytes(patch)
    return found


def surroundings() -> tuple[dict[str, dict[str, object]], bytes]:
    """Return the manifest's sections on what runs where (versions, source, machine), and the patch.

    Each section is flat; two of them can be compared name by name.
    """
    source, patch = describe_source(checkout())
    packages: dict[str, object] = {"python": platform.python_version(), **versions()}
    return {"versions": packages, "source": source, "machine": describe_machine()}, patch


def note_stage(run_dir: Path, stage: str, figures: Mapping[str, float]) -> None:
    """Add the seconds and steps of a finished stage."""
    manifest = read_object(run_dir / MANIFEST)
    stages = {**_mapping(manifest.get("stages")), stage: dict(figures)}
    replace_text(run_dir / MANIFEST, json.dumps({**manifest, "stages": stages}, indent=2) + "\n")


def note_reward(run_dir: Path, terms: Sequence[str]) -> None:
    """Note what PPO's reward is the sum of, a line a source, such as `0.5 x function f.py:f`."""
    manifest = read_object(run_dir / MANIFEST)
    replace_text(
        run_dir / MANIFEST, json.dumps({**manifest, "reward": list(terms)}, indent=2) + "\n"
    )


def note_restart(run_dir: Path, reason: str) -> None:
    """Add a start that follows the loss of a worker: when, and what was lost."""
    manifest = read_object(run_dir / MANIFEST)
    entry = {"time": time.time(), "reason": reason}
    restarts = [*cast("list[object]", manifest.get("restarts", [])), entry]
    replace_text(
        run_dir / MANIFEST, json.dumps({**manifest, "restarts": restarts}, indent=2) + "\n"
    )


def versions() -> dict[str, str]:
    """Return the installed version of every package a run's result may depend on."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}  # type: ignore[arg-type]
