"""Moved: adapters name their base by its whole path, which is another once their run was moved.

The peft library looks for a relative path in the working folder, so no name would hold everywhere.
What a run's own folders are called in it holds; the path is written anew from that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from rlhf.checkpoint.artifact import (
    ADAPTER_CONFIG,
    ADAPTER_SCHEMA,
    BASE_KEY,
    KINDS,
    read_artifact,
)
from rlhf.checkpoint.files import read_json, write_json
from rlhf.errors import CheckpointError
from rlhf.models.adapters import BASE_FOLDER
from rlhf.roles.saver import ADAPTER_FOLDER


def moved_bases(run_dir: Path) -> Iterator[tuple[Path, str, Path]]:
    """Yield (adapter folder, base it names, where that lies now) for each whose base was moved."""
    for kind in KINDS:
        folder = run_dir / kind / ADAPTER_FOLDER
        named = _named(folder)
        if named is None or Path(named).exists() or not _may_change(folder.parent):
            continue
        for own in (Path(kind, ADAPTER_FOLDER, BASE_FOLDER), *map(Path, KINDS)):
            if Path(named).parts[-len(own.parts) :] == own.parts and (run_dir / own).is_dir():
                yield folder, named, (run_dir / own).absolute()


def follow_move(run_dir: Path) -> list[str]:
    """Let adapters name their base where it lies now; return a line for each that was changed.

    Raises:
        CheckpointError: when the disk is full or fails.
    """
    told: list[str] = []
    for folder, named, base in list(moved_bases(run_dir)):
        name_base(folder, base)
        told.append(f"{folder} names its base anew: {base}, which was moved from {named}")
    return told


def name_base(folder: Path, base: Path) -> None:
    """Write the path of its base into an adapter folder."""
    file = folder / ADAPTER_CONFIG
    config = cast("dict[str, object]", read_json(file))
    write_json(file, {**config, BASE_KEY: str(base)})


def settle_base(partial: Path, target: Path) -> None:
    """Let adapters whose base lies in their own folder name it by the folder's last name.

    Its links become relative where they lead into the run, so that they hold when that is moved.
    """
    base = partial / ADAPTER_FOLDER / BASE_FOLDER
    if not base.is_dir():
        return
    run_dir, last = target.parent.resolve(), target / ADAPTER_FOLDER / BASE_FOLDER
    for link in (file for file in base.iterdir() if file.is_symlink()):
        file = link.resolve()
        if file.is_relative_to(run_dir):
            link.unlink()
            link.symlink_to(os.path.relpath(file, run_dir / last.relative_to(target.parent)))
    name_base(base.parent, last.absolute())


def _named(folder: Path) -> str | None:
    """Return the path of the base that an adapter folder names; None for a name on the hub."""
    try:
        config = read_json(folder / ADAPTER_CONFIG)
    except CheckpointError:
        return None  # there are no adapters, or they are damaged, which is told elsewhere
    named = cast("dict[str, object]", config).get(BASE_KEY) if isinstance(config, dict) else None
    return named if isinstance(named, str) and Path(named).is_absolute() else None


def _may_change(folder: Path) -> bool:
    """Return whether a folder's record leaves the base's path open; earlier ones hash it too."""
    try:
        artifact = read_artifact(folder)
    except CheckpointError:
        return False
    return artifact is not None and artifact.schema_version >= ADAPTER_SCHEMA
