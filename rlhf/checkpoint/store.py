"""A stage's checkpoints: all roles of a step are committed together, or none.

Layout, under RUN/checkpoints/STAGE:

    step_000020/manifest.json                  what belongs to the step, each file with its hash
    step_000020/ROLE/model.safetensors ...     written by the roles
    .step_000040.partial/                      being written or deleted; of no value after a crash
    .step_000020.old/                          a damaged step while its replacement moves in

The newest folder whose manifest verifies is the state to go on from: there is no pointer file
that could be torn or point elsewhere. Nothing is deleted before its successor is in place.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlhf.checkpoint.files import sync, writing
from rlhf.checkpoint.manifest import DamagedError, Owner, read_manifest, write_manifest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One committed, verified step."""

    step: int
    """Steps done when it was taken."""
    folder: Path
    """Holds one folder a role."""
    trainer: Mapping[str, object]
    """The stage's own state: KL coefficient, best validation and the like."""


class Store:
    """Commits, verifies and prunes the checkpoints of one stage; one process at a time."""

    def __init__(
        self,
        folder: Path,
        run_id: str,
        keep: int,
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        """Describe a store; nothing is touched yet.

        Args:
            folder: RUN/checkpoints/STAGE; its name is the stage's.
            run_id: The run all checkpoints must be of.
            keep: Newest good checkpoints to keep, at least 1.
            warn: Called with a line for every damaged checkpoint that is passed over, and for
                every folder that could not be deleted.
        """
        self._folder = folder
        self._owner = Owner(run_id, folder.name)
        self._keep = keep
        self._warn = warn
        self._damaged: set[Path] = set()

    @contextmanager
    def staging(self, step: int) -> Iterator[Path]:
        """Yield an empty folder for one step; it is deleted afterwards unless it was committed.

        Raises:
            CheckpointError: when the folder cannot be made.
        """
        self._tidy()
        folder = _partial(self._folder / _name(step))
        with writing(folder, 0):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, staging: Path, step: int, trainer: Mapping[str, object]) -> Checkpoint:
        """Make a staged step the newest checkpoint, then delete what is no longer needed.

        Args:
            staging: The folder that `staging` yielded, with every role's files in it.
            step: Steps done.
            trainer: JSON state of the stage itself.

        Raises:
            CheckpointError: when nothing was staged, or the disk is full or fails; the
                checkpoints committed before are untouched.
        """
        state = write_manifest(staging, self._owner, step, trainer)
        target = self._folder / _name(step)
        with writing(target, 0):
            for path in (*staging.rglob("*"), staging):
                sync(path)
            self._move(staging, target)
        self._prune(step)
        return Checkpoint(step, target, state)

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that verifies, None without one; tidy up after a crash.

        Every file is hashed. A damaged checkpoint is passed over with a warning that names the
        file at fault.

        Raises:
            CheckpointError: when a checkpoint is of another run, stage or newer schema.
        """
        self._tidy()
        for folder in reversed(self._steps()):
            step = _step_of(folder)
            try:
                return Checkpoint(step, folder, read_manifest(folder, self._owner, step))
            except DamagedError as error:
                self._damaged.add(folder)
                self._warn(f"checkpoint {folder} is damaged and was passed over: {error}")
        return None

    def _steps(self) -> list[Path]:
        """Return the committed folders, oldest first."""
        if not self._folder.is_dir():
            return []
        found = (path for path in self._folder.iterdir() if re.fullmatch(r"step_\d+", path.name))
        return sorted(found, key=_step_of)

    def _tidy(self) -> None:
        """Undo a replacement that was cut in half and drop commits that never happened."""
        for old in self._folder.glob(".step_*.old"):
            home = self._folder / old.name[1 : -len(".old")]
            with writing(old, 0):
                shutil.rmtree(old) if home.exists() else old.rename(home)
        for partial in self._folder.glob(".step_*.partial"):
            with writing(partial, 0):
                shutil.rmtree(partial)

    def _move(self, staging: Path, target: Path) -> None:
        """Rename the staged folder to its place, setting aside what stands there."""
        old = target.with_name(f".{target.name}.old")
        if target.exists():
            target.rename(old)
        staging.rename(target)
        sync(self._folder)
        self._damaged.discard(target)
        shutil.rmtree(old, ignore_errors=True)

    def _prune(self, step: int) -> None:
        """Delete damaged checkpoints, and good ones older than the newest `keep`."""
        good = [path for path in self._steps() if path not in self._damaged]
        earlier = [path for path in good if _step_of(path) < step]
        surplus = earlier[: max(0, len(earlier) - (self._keep - 1))]
        for folder in (*surplus, *self._damaged):
            self._delete(folder)
        self._damaged.clear()

    def _delete(self, folder: Path) -> None:
        """Delete a folder that, half deleted, must not pass for a damaged checkpoint."""
        try:
            shutil.rmtree(folder.rename(_partial(folder)))
        except OSError as error:
            self._warn(f"checkpoint {folder} could not be deleted: {error}")


def _name(step: int) -> str:
    return f"step_{step:06d}"


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step_"))


def _partial(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.partial")
