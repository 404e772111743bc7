"""Sinks: the trackers of a run's figures, each behind the same five calls."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from rlhf.errors import RLHFError
from rlhf.observe import files
from rlhf.observe.numbers import finite
from rlhf.observe.samples import Sample, prompt_text, write_samples

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class SinkError(RLHFError, RuntimeError):
    """A tracker failed; training goes on without it."""


SINK_FAILURES: Final = (OSError, RuntimeError, ValueError, ImportError)
"""What a sink may raise without stopping the run; SinkError is a RuntimeError."""


class Sink(Protocol):
    """One destination of figures and samples. Every method may raise one of SINK_FAILURES."""

    @property
    def name(self) -> str:
        """The sink's name in a warning."""
        ...

    def begin(self, stage: str, first_step: int) -> None:
        """Start a stage; drop what an earlier attempt at it recorded from first_step on."""
        ...

    def record(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Record the figures of one step."""
        ...

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Record the samples of one step."""
        ...

    def close(self, *, failed: bool) -> None:
        """Finish; nothing is recorded afterwards."""
        ...


class JsonlSink:
    """RUN/metrics.jsonl and RUN/samples.jsonl, from which the report is made."""

    name = "metrics.jsonl"

    def __init__(self, run_dir: Path) -> None:
        """Keep the folder; run_dir must exist."""
        self._run_dir = run_dir

    def begin(self, stage: str, first_step: int) -> None:
        """Drop this stage's lines from first_step on, so that no curve doubles after a resume."""
        for name in (files.METRICS, files.TIMELINE):
            files.keep_rows(self._run_dir / name, lambda row: not repeats(row, stage, first_step))

    def record(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Append one line; a value that is not finite is written as null."""
        metrics = {name: finite(value) for name, value in values.items()}
        row = {"stage": stage, "step": step, "time": time.time(), "metrics": metrics}
        files.append_rows(self._run_dir / files.METRICS, [row])

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Write the samples of this step, in place of earlier ones."""
        write_samples(self._run_dir, stage, step, rows)

    def close(self, *, failed: bool) -> None:
        """Do nothing: no file stays open."""


class TensorBoardSink:
    """Event files in RUN/tensorboard, one TensorBoard run a stage."""

    name = "tensorboard"

    def __init__(self, run_dir: Path) -> None:
        """Keep the folder; TensorBoard is imported when the first stage begins."""
        self._folder = run_dir / files.TENSORBOARD
        self._writers: dict[str, SummaryWriter] = {}

    def begin(self, stage: str, first_step: int) -> None:
        """Open the stage's writer; TensorBoard hides earlier points from first_step on."""
        from torch.utils.tensorboard import SummaryWriter  # imported only when asked for

        self._writers[stage] = SummaryWriter(str(self._folder / stage), purge_step=first_step)

    def record(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar a metric."""
        if stage not in self._writers:
            raise SinkError(f"no event file could be opened for {stage}")
        for name, value in values.items():
            self._writers[stage].add_scalar(name, value, step)
        self._writers[stage].flush()

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Write the samples as text, if the stage has begun."""
        if stage in self._writers:
            text = "\n\n".join(f"    {prompt_text(row.prompt)}{row.response}" for row in rows)
            self._writers[stage].add_text("samples", text, step)

    def close(self, *, failed: bool) -> None:
        """Flush and close every writer."""
        for writer in self._writers.values():
            writer.close()


def repeats(row: Mapping[str, object], stage: str, first_step: int) -> bool:
    """Return whether a stage that goes on at first_step will write a stored line again."""
    return row.get("stage") == stage and (finite(row.get("step")) or 0) >= first_step
