"""Engine and TrainableEngine: the protocols by which a role runs and trains its weights.

A contract test runs every implementation through the same suite. `backward` takes *sums*:
the gradient that `step` applies is the sum over ranks and calls of the gradients of what was
passed in, so a loss divided by a global count gives the same update on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor, nn

from rlhf.engine.world import World


class Engine(Protocol):
    """One model that can be run."""

    world: World
    """The ranks that hold this model."""
    module: nn.Module
    """The model itself; whole only inside `gathered`."""

    def __call__(self, *inputs: Any) -> Any:
        """Run the module on this rank's rows; with ZeRO-3 every rank must call equally often."""
        ...

    def gathered(self) -> AbstractContextManager[nn.Module]:
        """Yield the module with whole weights on every rank; no collective happens inside."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Return the tensors of a model folder by name, on CPU; empty on all but rank 0.

        These are whole weights and persistent buffers, each in its dtype in memory.
        """
        ...


class TrainableEngine(Engine, Protocol):
    """One model that can also learn."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of this rank's share of the loss."""
        ...

    def step(self, lr: float) -> float:
        """Sum gradients over ranks, clip, update, clear; return the norm before clipping.

        Raises:
            TrainingError: when the norm is not finite; the weights are then untouched.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """Return weights and optimizer moments by name, on CPU, fp32; on rank 0 only."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Set weights and moments; every rank passes the whole state."""
        ...
