"""Finished: the model folders that a run has made, each whole and beside those made with it."""

from __future__ import annotations

from pathlib import Path

from rlhf.checkpoint.artifact import KINDS, START, old_of, verify
from rlhf.checkpoint.run import RECORDED_START, RUN_FILE, read_record
from rlhf.errors import CheckpointError


def finished(run_dir: Path) -> list[Path]:
    """Return the finished model folders that are there, in the order in which stages make them."""
    return [run_dir / kind for kind in KINDS if (run_dir / kind).exists()]


def check_finished(folder: Path) -> str:
    """Return what was found of a finished folder, after checking every file of it.

    Raises:
        CheckpointError: naming every file of it that is missing or differs, or the folders that
            were made with it and are gone.
    """
    record = folder.parent / RUN_FILE
    if folder.name == START and read_record(record).schema_version < RECORDED_START:
        return "not recorded, as the run was begun by an earlier release"
    artifact = verify(folder)
    beside = [folder.parent / kind for kind in artifact.beside]
    gone = [other for other in beside if not other.exists() and not old_of(other).exists()]
    if gone:
        raise CheckpointError(
            f"{gone[0]} is missing, though it was made with {folder}; put it back, or delete "
            f"{folder} and run its stage again"
        )
    return f"whole, {len(artifact.weights_sha256) + len(artifact.files_sha256)} files"


def check_all_finished(run_dir: Path) -> int:
    """Check every finished folder of a run; return how many there are.

    Raises:
        CheckpointError: with the damage of all of them, a line a file.
    """
    folders, problems = finished(run_dir), list[str]()
    for folder in folders:
        try:
            check_finished(folder)
        except CheckpointError as error:
            problems += str(error).splitlines()
    if problems:
        raise CheckpointError("\n".join(dict.fromkeys(problems)))
    return len(folders)
