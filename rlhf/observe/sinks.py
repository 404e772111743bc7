"""Sinks: where the figures of a run go, each behind the same five calls."""

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
    """A tracker refused; training goes on without it."""


SINK_FAILURES: Final = (OSError, RuntimeError, ValueError, ImportError)
"""What a sink may raise without stopping the run; SinkError is a RuntimeError."""


class Sink(Protocol):
    """One destination of figures and samples. Every method may raise one of SINK_FAILURES."""

    @property
    def name(self) -> str:
        """What a warning calls it."""
        ...

    def begin(self, stage: str, first_step: int) -> None:
        """Forget what an earlier attempt at this stage wrote from first_step on."""
        ...

    def record(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Keep the figures of one step."""
        ...

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Keep the samples of one step."""
        ...

    def close(self, *, failed: bool) -> None:
        """Finish; nothing is recorded afterwards."""
        ...


class JsonlSink:
    """RUN/metrics.jsonl and RUN/samples.jsonl: the truth the report is made from."""

    name = "metrics.jsonl"

    def __init__(self, run_dir: Path) -> None:
        """Write into run_dir, which must exist."""
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
        """Nothing is held open."""


class TensorBoardSink:
    """Event files in RUN/tensorboard, one TensorBoard run a stage."""

    name = "tensorboard"

    def __init__(self, run_dir: Path) -> None:
        """Prepare to write under run_dir; the package is imported when the first stage begins."""
        self._folder = run_dir / files.TENSORBOARD
        self._writers: dict[str, SummaryWriter] = {}

    def begin(self, stage: str, first_step: int) -> None:
        """Open the stage's writer; TensorBoard hides what it holds from first_step on."""
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
    """Tell whether a stored line will be written again by a stage that goes on at first_step."""
    return row.get("stage") == stage and (finite(row.get("step")) or 0) >= first_step
