"""Trained: what every role that learns can do with its weights: save them, and go on from them."""

from __future__ import annotations

from pathlib import Path

from rlhf.roles.learner import Learner
from rlhf.roles.remote import KEEP, remote
from rlhf.roles.saver import ModelSaver


class Trained:
    """A role with a learner and a saver."""

    learner: Learner
    saver: ModelSaver

    @remote(KEEP)
    def save(self, folder: Path) -> None:
        """Save the model as a plain Hugging Face folder."""
        self.saver.save(folder)

    @remote(KEEP)
    def save_state(self, folder: Path) -> None:
        """Save weights and moments for a resume."""
        self.learner.save_state(folder)

    @remote(KEEP)
    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` saved."""
        self.learner.load_state(folder)
