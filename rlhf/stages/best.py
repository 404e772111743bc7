"""Best: early stopping on a validation loss, with the best model on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rlhf.roles.ports import Checkpointable


class Best:
    """Tracks the lowest validation loss; saves the model whenever it falls.

    Without patience the newest model counts as the best: training goes to its end.
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
            role.save(self.folder)
        else:
            self.waited += 1

    def state(self) -> dict[str, object]:
        """Return what a resume needs, as JSON can keep it."""
        return {"loss": self.loss if self.loss < float("inf") else None, "waited": self.waited}

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `state` returned."""
        loss = state["loss"]
        self.loss = float("inf") if loss is None else float(str(loss))
        self.waited = int(str(state["waited"]))
