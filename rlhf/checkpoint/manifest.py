"""The manifest of a checkpoint: what belongs to the step, each file with its hash, and its owner.

The manifest carries a hash of itself, so a changed digit in the stage's own state is found too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rlhf.checkpoint.files import canonical_json, read_json, sha256, write_json
from rlhf.errors import CheckpointError

MANIFEST_FILE = "manifest.json"
SCHEMA_VERSION = 1


class DamagedError(Exception):
    """A damaged checkpoint folder; the message names the file at fault."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The run, stage and step that a checkpoint belongs to."""

    run_id: str
    """The run."""
    stage: str
    """The stage of it."""


def write_manifest(
    folder: Path, owner: Owner, step: int, trainer: Mapping[str, object]
) -> dict[str, object]:
    """Hash every file of a staged folder and write its manifest.

    Returns:
        The trainer state as it will be read back: plain JSON.

    Raises:
        CheckpointError: when the folder holds no file, or the disk is full or fails.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    if not paths:
        raise CheckpointError(f"{folder} is empty: a checkpoint needs at least one role's files")
    state = cast("dict[str, object]", json.loads(json.dumps(trainer)))
    body = {
        "schema_version": SCHEMA_VERSION,
        "run_id": owner.run_id,
        "stage": owner.stage,
        "step": step,
        "trainer": state,
        "files": {path.relative_to(folder).as_posix(): _entry(path) for path in paths},
    }
    write_json(folder / MANIFEST_FILE, {**body, "sha256": _digest(body)})
    return state


def read_manifest(folder: Path, owner: Owner, step: int) -> dict[str, object]:
    """Verify a folder against its manifest, hashing every file; return the trainer state.

    Raises:
        DamagedError: naming the file that is missing, changed or of another step.
        CheckpointError: when the checkpoint is of another run or stage, or of a newer schema.
    """
    manifest = _trusted(folder)
    _check_owner(manifest, owner, folder)
    if manifest["step"] != step:
        raise DamagedError(f"{folder / MANIFEST_FILE} is of step {manifest['step']}")
    _check_files(folder, manifest)
    return cast("dict[str, object]", manifest["trainer"])


def check_step(folder: Path) -> int:
    """Verify a committed folder, whoever's it is; return the number of its files.

    Raises:
        DamagedError: naming the file that is missing or changed.
        CheckpointError: when the checkpoint is of a newer schema.
    """
    return _check_files(folder, _trusted(folder))


def _trusted(folder: Path) -> dict[str, object]:
    """Return a manifest that matches its own hash."""
    path = folder / MANIFEST_FILE
    manifest = _parsed(path)
    _check_schema(manifest, folder)
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    if manifest.get("sha256") != _digest(body):
        raise DamagedError(f"{path} does not match its own sha256")
    return manifest


def _check_files(folder: Path, manifest: Mapping[str, object]) -> int:
    """Hash every file that belongs to a step; return how many there are."""
    files = cast("dict[str, dict[str, object]]", manifest["files"])
    for name, entry in files.items():
        _check_file(folder / name, entry)
    return len(files)


def _entry(path: Path) -> dict[str, object]:
    return {"sha256": sha256(path), "bytes": path.stat().st_size}


def _digest(body: Mapping[str, object]) -> str:
    return hashlib.sha256(canonical_json(body).encode()).hexdigest()


def _parsed(path: Path) -> dict[str, object]:
    try:
        manifest = read_json(path)
    except CheckpointError as error:
        raise DamagedError(str(error)) from error
    if not isinstance(manifest, dict):
        raise DamagedError(f"{path} holds no manifest")
    return cast("dict[str, object]", manifest)


def _check_schema(manifest: Mapping[str, object], folder: Path) -> None:
    version = manifest.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CheckpointError(
            f"checkpoint {folder} has schema_version={version}, this release reads up to "
            f"{SCHEMA_VERSION}; upgrade, or choose another run_dir"
        )


def _check_owner(manifest: Mapping[str, object], owner: Owner, folder: Path) -> None:
    for key, expected in (("run_id", owner.run_id), ("stage", owner.stage)):
        if manifest[key] != expected:
            raise CheckpointError(
                f"checkpoint {folder} has {key}={manifest[key]}, expected {expected}; "
                "move it away, or choose another run_dir"
            )


def _check_file(path: Path, entry: Mapping[str, object]) -> None:
    """Compare one file with its entry in the manifest."""
    try:
        found = sha256(path)
    except CheckpointError as error:
        raise DamagedError(str(error)) from error
    if found != entry["sha256"]:
        raise DamagedError(
            f"{path} has {path.stat().st_size} of {entry['bytes']} bytes and sha256 {found[:12]}, "
            f"the manifest says {str(entry['sha256'])[:12]}"
        )
