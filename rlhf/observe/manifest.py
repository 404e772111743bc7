"""Manifest: what a run was made of, so that it can be told apart, and made again."""

from __future__ import annotations

import json
import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from rlhf import __version__
from rlhf.observe.files import read_object, replace_text

PACKAGES = ("torch", "transformers", "deepspeed", "ray", "peft", "datasets", "hydra-core", "wandb")
MANIFEST = "manifest.json"


def write_manifest(
    run_dir: Path,
    command: Sequence[str],
    config: Mapping[str, object],
    data: Mapping[str, Mapping[str, object]],
) -> None:
    """Write RUN/manifest.json; what finished stages noted there before stays."""
    before = read_object(run_dir / MANIFEST)
    manifest = {
        "rlhf_version": __version__,
        "command": shlex.join(command),
        "created": before.get("created", time.time()),
        "seed": config["seed"],
        "versions": {"python": platform.python_version(), **versions()},
        "machine": _machine(),
        "data": {**_mapping(before.get("data")), **data},
        "stages": _mapping(before.get("stages")),
        "config": config,
    }
    replace_text(run_dir / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def note_stage(run_dir: Path, stage: str, figures: Mapping[str, float]) -> None:
    """Add what a finished stage took."""
    manifest = read_object(run_dir / MANIFEST)
    stages = {**_mapping(manifest.get("stages")), stage: dict(figures)}
    replace_text(run_dir / MANIFEST, json.dumps({**manifest, "stages": stages}, indent=2) + "\n")


def versions() -> dict[str, str]:
    """Return the installed version of every package a run's result may depend on."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _machine() -> dict[str, object]:
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }


def _mapping(value: object) -> dict[str, object]:
    return dict(value) if isinstance(value, Mapping) else {}  # type: ignore[arg-type]
