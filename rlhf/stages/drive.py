"""drive: runs any stage from where it stopped to its end; logs and saves for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from rlhf.catalog.declared import derived_of
from rlhf.checkpoint.ending import ENDING, Terminated
from rlhf.checkpoint.store import Store
from rlhf.flow.metrics import Metrics
from rlhf.observe.listener import tell
from rlhf.observe.log import RunLog
from rlhf.observe.spans import Span, StepTrace, trace_of
from rlhf.roles.ports import Resumable


class Stage(Protocol):
    """The interface through which drive runs a stage."""

    @property
    def name(self) -> str:
        """The stage's name, that of its record."""
        ...

    @property
    def total_steps(self) -> int:
        """Most steps the stage takes."""
        ...

    def steps(self, first_step: int) -> Iterator[Metrics]:
        """Yield one report a step."""
        ...

    def checkpointables(self) -> Mapping[str, Resumable]:
        """Return what makes up a checkpoint, by name: the roles that learn, the best model."""
        ...

    def state(self) -> dict[str, object]:
        """Return what a resume needs besides the roles, as JSON can keep it."""
        ...

    def load(self, state: Mapping[str, object]) -> None:
        """Restore what `state` returned."""
        ...


class Cadence:
    """When checkpoints are due: after so many steps, and after so many minutes."""

    def __init__(self, steps: int, minutes: float | None = None) -> None:
        """Begin now; minutes None: by steps alone."""
        self._steps, self._minutes = steps, minutes
        self._last = time.monotonic()

    def is_due(self, done: int) -> bool:
        """Return whether one is due after so many steps; the minutes then count from now."""
        passed = time.monotonic() - self._last
        due = done % self._steps == 0 or (
            self._minutes is not None and passed >= 60 * self._minutes
        )
        if due:
            self._last = time.monotonic()
        return due


def resume(stage: Stage, store: Store) -> int:
    """Restore the newest undamaged checkpoint; return the next step, 0 without a checkpoint."""
    checkpoint = store.latest()
    if checkpoint is None:
        return 0
    stage.load(checkpoint.trainer)
    for name, part in stage.checkpointables().items():
        part.load_state(checkpoint.folder / name)
    return checkpoint.step


def drive(
    stage: Stage,
    store: Store,
    log: RunLog,
    *,
    cadence: Cadence,
    timings: Callable[[], Sequence[Span]],
) -> int:
    """Run a stage to its end; return the steps it took in all.

    Args:
        stage: The stage to run.
        store: Where its checkpoints are.
        log: Records every step.
        cadence: When a checkpoint is due.
        timings: Returns the calls that ended since it was last called.

    Raises:
        Terminated: when this process was asked to end; a step that came to its end is saved.
    """
    first_step = resume(stage, store)
    log.begin(stage.name, stage.total_steps, first_step)
    if first_step:
        log.note(f"going on from step {first_step}")
    timings()
    done = first_step
    began, clock = time.time(), time.monotonic()
    for done, metrics in enumerate(stage.steps(first_step), start=first_step + 1):
        trace = trace_of(timings(), began, time.monotonic() - clock)
        figures = _figures(stage, metrics, trace)
        log.record(done - 1, metrics, figures, trace)
        tell(stage.name, done - 1, {**metrics.means(), **figures})
        began, clock = time.time(), time.monotonic()
        is_last = done == stage.total_steps
        if not is_last and (cadence.is_due(done) or ENDING.is_asked):
            _save(stage, store, done)
        if ENDING.is_asked and not is_last:
            raise Terminated
    log.end(stage.name)
    return done


def _figures(stage: Stage, metrics: Metrics, trace: StepTrace) -> dict[str, float]:
    """Return what a step's trace tells, and what follows from that and its own metrics."""
    timed = {**trace.figures(), "time/step_s": trace.seconds}
    return {**timed, **derived_of(stage.name, {**metrics.means(), **timed})}


def _save(stage: Stage, store: Store, step: int) -> None:
    with store.staging(step) as folder:
        for name, part in stage.checkpointables().items():
            part.save_state(folder / name)
        store.commit(folder, step, stage.state())
