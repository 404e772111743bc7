"""Best: early stopping on a validation loss, with the best model on disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rlhf.roles.ports import Checkpointable


class Best:
    """Tracks the lowest validation loss; saves the model whenever it falls.

    Without patience the newest model counts as the best: training goes to its end. The best model
    is a part of every checkpoint, so a resume goes on with the one that belongs to its step.
    """

    def __init__(self, folder: Path, patience: int | None) -> None:
        """Keep the best model in folder; stop after `patience` validations without a new best."""
        self.folder, self._patience = folder, patience
        self.loss, self.waited = float("inf"), 0

    @property
    def is_over(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self.waited >= self._patience

    def observe(self, loss: float, role: Checkpointable) -> None:
        """Add one validation loss; save the model if it is the lowest so far."""
        if loss < self.loss or self._patience is None:
            self.loss, self.waited = loss, 0
            new = self.folder.with_name(f".{self.folder.name}.partial")
            shutil.rmtree(new, ignore_errors=True)
            role.save(new)
            shutil.rmtree(self.folder, ignore_errors=True)
            new.rename(self.folder)
        else:
            self.waited += 1

    def save_state(self, folder: Path) -> None:
        """Add the best model so far to a checkpoint; its files are shared, not copied."""
        if self.folder.is_dir():
            shutil.copytree(self.folder, folder, symlinks=True, copy_function=_share)

    def load_state(self, folder: Path) -> None:
        """Take the best model of a checkpoint; none, if there was none at that step."""
        if not folder.is_dir() and self.loss < float("inf"):
            return  # A checkpoint of an earlier release, which left the model where it is.
        shutil.rmtree(self.folder, ignore_errors=True)
        if folder.is_dir():
            shutil.copytree(folder, self.folder, symlinks=True, copy_function=_share)

    def state(self) -> dict[str, object]:
        """Return what a resume needs, as JSON can keep it."""
        return {"loss": self.loss if self.loss < float("inf") else None, "waited": self.waited}

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `state` returned."""
        loss = state["loss"]
        self.loss = float("inf") if loss is None else float(str(loss))
        self.waited = int(str(state["waited"]))


def _share(source: str, target: str) -> None:
    """Give a file a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
