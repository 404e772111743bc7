"""Learner: one optimizer update from engine, loss and minibatch; all roles that learn use it.

Losses are sums. They are divided by the count of the whole minibatch, over all ranks and
microbatches, so an update is the same however its rows are spread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from rlhf.algo.minibatch import num_computed, sharded_microbatches
from rlhf.algo.schedule import learning_rate
from rlhf.checkpoint.files import read_tensors, write_tensors
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.base import TrainableEngine
from rlhf.errors import TrainingError
from rlhf.flow.tensors import TensorBatch
from rlhf.roles.passes import filled_up, packs

B = TypeVar("B", bound=TensorBatch)
STATE_FILE, NUM_UPDATES = "state.safetensors", "num_updates"
PADDING_SHARE = "speed/padding_share"
_REAL, _COMPUTED = "num_real_tokens", "num_computed_tokens"


@dataclass(frozen=True, slots=True)
class LossSum:
    """The result of a loss function on one microbatch."""

    loss: Tensor
    """Sum over its tokens (or rows); carries the gradient."""
    sums: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Statistics to be added over microbatches and ranks and divided by the count."""
    peaks: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Statistics of which the largest counts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective(Generic[B]):
    """One term of what an optimizer step minimises: coef * sum of a loss over rows / count."""

    batch: B
    """The minibatch, which every rank holds whole."""
    lengths_B: Tensor
    """Tokens a row, [B], or [B, K] where K texts stay together; rows are dealt out by them."""
    count: float
    """What the summed loss is divided by, over the whole minibatch."""
    loss_of: Callable[[B], LossSum]
    """Gives the summed loss of some rows."""
    coef: float = 1.0
    """Weight of the term."""


@dataclass(frozen=True, slots=True)
class Report:
    """Loss and statistics of one objective in an optimizer step, the same on every rank."""

    loss: float
    """Sum / count, without the coefficient."""
    means: dict[str, float]
    """Statistics / count, and as PADDING_SHARE how much of what all ranks computed was padding."""
    peaks: dict[str, float]


@dataclass(frozen=True, slots=True)
class Update:
    """The result of one optimizer step, the same on every rank."""

    reports: tuple[Report, ...]
    """One an objective, in their order."""
    grad_norm: float
    lr: float

    @property
    def loss(self) -> float:
        """The first objective's loss."""
        return self.reports[0].loss

    @property
    def means(self) -> dict[str, float]:
        """The first objective's statistics, divided by its count."""
        return self.reports[0].means

    @property
    def peaks(self) -> dict[str, float]:
        """The first objective's largest values."""
        return self.reports[0].peaks


class Learner:
    """Takes one optimizer step a minibatch."""

    def __init__(
        self,
        engine: TrainableEngine,
        config: OptimizerConfig,
        *,
        max_tokens: int,
        total_updates: int,
        name: str = "model",
    ) -> None:
        """Keep the learning-rate schedule, the most tokens of a forward pass, the role's name."""
        self.engine, self.num_updates, self._name = engine, 0, name
        self._config, self._max_tokens, self._total_updates = config, max_tokens, total_updates

    def update(self, *objectives: Objective[Any]) -> Update:
        """Take one step on a minibatch (several, where a loss has several terms).

        Raises:
            TrainingError: when a loss or a gradient is not finite, naming the role; the weights
                are then untouched.
        """
        reports = tuple(self._report(objective, learn=True) for objective in objectives)
        lr = self.learning_rate()
        try:
            norm = self.engine.step(lr)
        except TrainingError as error:
            raise TrainingError(f"{self._name}: update {self.num_updates}: {error}") from error
        self.num_updates += 1
        return Update(reports, norm, lr)

    def look(self, objective: Objective[Any]) -> Report:
        """Report on a minibatch as `update` would, without learning from it."""
        return self._report(objective, learn=False)

    def learning_rate(self) -> float:
        """Return the learning rate of the next update."""
        config = self._config
        return learning_rate(
            self.num_updates,
            lr=config.lr,
            warmup_steps=config.warmup_steps,
            schedule=config.schedule,
            total_steps=self._total_updates,
        )

    def _report(self, objective: Objective[Any], *, learn: bool) -> Report:
        """Run every microbatch of one objective, and sum up over them and all ranks."""
        divisor = max(objective.count, 1.0)
        totals, peaks = self._combine(
            [
                self._run(objective, chunk, learn=learn)
                for chunk in self._chunks(objective.lengths_B)
            ]
        )
        padding_share = 1.0 - totals.pop(_REAL) / totals.pop(_COMPUTED)
        means = {name: value / divisor for name, value in totals.items()}
        loss = means.pop("loss")
        if not math.isfinite(loss):
            raise TrainingError(
                f"{self._name}: the loss is {loss} at update {self.num_updates}; the weights were "
                "left as they were; lower its learning rate, or set engine.precision=fp32"
            )
        return Report(loss, {**means, PADDING_SHARE: padding_share}, peaks)

    def _chunks(self, lengths_B: Tensor) -> list[Tensor]:
        """Cut this rank's share into chunks; ranks with fewer get empty ones besides."""
        world = self.engine.world
        dealt = sharded_microbatches(
            lengths_B, world.size, self._max_tokens, packs=packs(self.engine)
        )
        return filled_up(dealt[world.rank], max(map(len, dealt)))

    def _run(self, objective: Objective[Any], chunk: Tensor, *, learn: bool) -> LossSum:
        """Run one chunk, and add its gradient unless it is only measured.

        An empty chunk runs a row at weight 0, so that all ranks make the same number of calls.
        """
        weight = 1.0 if len(chunk) else 0.0
        rows = chunk if len(chunk) else torch.zeros(1, dtype=torch.long)
        report = objective.loss_of(objective.batch.select(rows))
        if learn:
            self.engine.backward(
                report.loss * (objective.coef * weight / max(objective.count, 1.0))
            )
        sums = {name: value.detach() * weight for name, value in report.sums.items()}
        sums["loss"] = report.loss.detach() * weight
        lengths_B = objective.lengths_B[rows]
        sums[_REAL] = lengths_B.sum() * weight
        sums[_COMPUTED] = torch.tensor(num_computed(lengths_B, packs=packs(self.engine)))
        peaks = {name: value.detach() * weight for name, value in report.peaks.items()}
        return LossSum(report.loss.detach(), sums, peaks)

    def _combine(self, reports: list[LossSum]) -> tuple[dict[str, float], dict[str, float]]:
        world = self.engine.world
        names, tops = list(reports[0].sums), list(reports[0].peaks)
        sums = [sum(float(report.sums[name]) for report in reports) for name in names]
        totals = world.total(torch.tensor(sums, dtype=torch.float64)).tolist()
        peaks = [
            world.largest(max(float(report.peaks[name]) for report in reports)) for name in tops
        ]
        return dict(zip(names, totals, strict=True)), dict(zip(tops, peaks, strict=True))

    def save_state(self, folder: Path) -> None:
        """Save weights, moments and the number of updates; rank 0 writes, all must call."""
        state = self.engine.state()
        if self.engine.world.rank == 0:
            state[NUM_UPDATES] = torch.tensor(self.num_updates)
            write_tensors(folder / STATE_FILE, state)

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` saved, on any number of ranks and at any ZeRO stage."""
        state = read_tensors(folder / STATE_FILE)
        self.num_updates = int(state.pop(NUM_UPDATES))
        self.engine.load_state(state)
