"""Epochs: the loop of a stage that learns from rows: passes, validation, early stopping."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol

from rlhf.data.split import B
from rlhf.data.stream import Stream
from rlhf.flow.metrics import Metrics
from rlhf.roles.ports import Checkpointable, Resumable
from rlhf.stages.best import Best


class Passes(Protocol):
    """What the settings of such a stage have in common."""

    @property
    def num_epochs(self) -> float:
        """Passes over the rows."""
        ...

    @property
    def validate_every(self) -> int:
        """Optimizer steps between validations."""
        ...


def num_steps(num_epochs: float, train: Stream[Any]) -> int:
    """Return the optimizer steps of some epochs, rounded up; at least 1."""
    return max(1, math.ceil(num_epochs * train.steps_per_epoch))


@dataclass(frozen=True, kw_only=True)
class Epochs(ABC, Generic[B]):
    """One role learns from rows, a batch a step; the best model is kept on disk."""

    train: Stream[B]
    validation: B
    best: Best
    config: Passes

    @property
    @abstractmethod
    def _learner(self) -> tuple[str, Checkpointable]:
        """The role that learns, by its name in a checkpoint."""

    @abstractmethod
    def learn(self, batch: B) -> Metrics:
        """Take one optimizer step; report loss/train among others."""

    @abstractmethod
    def validate(self) -> Metrics:
        """Report loss/validation among others, without learning."""

    @property
    def total_steps(self) -> int:
        """Optimizer steps without early stopping."""
        return num_steps(self.config.num_epochs, self.train)

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report an optimizer step, until done or patience runs out."""
        for step in range(first_step, self.total_steps):
            if self.best.is_over:
                return
            yield self.step(step)

    def step(self, step: int) -> Metrics:
        """Take one optimizer step, and validate when it is time."""
        learned = self.learn(self.train.batch(step))
        done = step + 1
        if done % self.config.validate_every and done < self.total_steps:
            return learned
        return Metrics.merge([learned, self._judge(learned["loss/train"])])

    def _judge(self, train_loss: float) -> Metrics:
        """Keep the best model; without validation rows the training loss decides."""
        seen = self.validate() if len(self.validation) else Metrics()
        loss = seen["loss/validation"] if len(self.validation) else train_loss
        self.best.observe(loss, self._learner[1])
        return seen

    def checkpointables(self) -> Mapping[str, Resumable]:
        """Return what makes up a checkpoint: the role that learns, and the best model so far."""
        return {**dict([self._learner]), "best": self.best}

    def state(self) -> dict[str, object]:
        """Return what a resume needs besides the roles, as JSON can keep it."""
        return self.best.state()

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `state` returned."""
        self.best.load(state)
