"""WeightAverage: the exponential moving average of a model's weights, often better than the last.

Polyak & Juditsky 1992; Ouyang et al. 2022, appendix C.4 (decay 0.992 a PPO step).
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rlhf.checkpoint.files import read_tensors, write_tensors
from rlhf.engine.base import Engine

AVERAGE_FILE = "average.safetensors"
"""Beside the engine's state, once there is an average."""


class WeightAverage:
    """Keeps whole averaged weights on rank 0, in full precision; every rank must call.

    Buffers are not averaged: they are taken as they are.
    """

    def __init__(self, engine: Engine, decay: float) -> None:
        """Start the average at the engine's current weights.

        Args:
            engine: The engine whose weights are averaged.
            decay: Share of the old average that each step keeps, in [0, 1).
        """
        self._engine, self._decay = engine, decay
        learned = {name for name, _ in engine.module.named_parameters()}
        held = engine.weights().items()
        self._average = {name: tensor.float() for name, tensor in held if name in learned}

    def observe(self) -> None:
        """Add the current weights: average += (1 - decay) * (current - average)."""
        for name, now in self._engine.weights().items():
            if name in self._average:
                self._average[name].lerp_(now.float(), 1 - self._decay)

    def weights(self) -> dict[str, Tensor]:
        """Return the average by the engine's names, in its dtypes; empty on all but rank 0."""
        held = self._engine.weights()
        return {name: self._average.get(name, now).to(now.dtype) for name, now in held.items()}

    def save_state(self, folder: Path) -> None:
        """Save the average beside the engine's own state."""
        if self._engine.world.rank == 0:
            write_tensors(folder / AVERAGE_FILE, self._average)

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` saved."""
        if self._engine.world.rank == 0:
            self._average = read_tensors(folder / AVERAGE_FILE)
