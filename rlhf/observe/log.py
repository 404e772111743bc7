"""RunLog: the one place a stage reports its figures to; a failing sink never stops a run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rlhf.catalog.stages import PPO
from rlhf.config.observe import TrackingConfig
from rlhf.flow.metrics import Metrics
from rlhf.observe import files
from rlhf.observe.console import Console
from rlhf.observe.health import named_alarms, stop_if_too_far
from rlhf.observe.numbers import finite
from rlhf.observe.samples import Sample
from rlhf.observe.sinks import SINK_FAILURES, JsonlSink, Sink, TensorBoardSink, repeats
from rlhf.observe.spans import KeptTrace, StepTrace, append_trace, is_kept
from rlhf.observe.wandb_sink import open_wandb


class RunLog:
    """Fans figures and samples out to all sinks; one that fails is named and tried again."""

    def __init__(
        self,
        run_dir: Path,
        tracking: TrackingConfig,
        *,
        config: Mapping[str, object],
        run_id: str | None = None,
        max_kl: float | None = None,
    ) -> None:
        """Keep the settings; the sinks open on entering the context.

        Args:
            run_dir: folder of the run; made if missing.
            tracking: which sinks to open on entering the context.
            config: the resolved configuration as a plain mapping.
            run_id: identity in trackers, for a folder that has none yet.
            max_kl: nats a response; PPO that stays above it is cut.
        """
        self._run_dir, self._tracking = run_dir, tracking
        self._config, self._run_id, self._max_kl = config, run_id, max_kl
        self._console = Console(live=tracking.console)
        self._sinks: list[Sink] = []
        self._stage, self._step, self.earlier_s = "", 0, 0.0
        self._history: list[Mapping[str, object]] = []
        self._warned: set[str] = set()

    def __enter__(self) -> Self:
        """Open every sink that is asked for."""
        self._run_dir.mkdir(parents=True, exist_ok=True)
        self._sinks = [JsonlSink(self._run_dir)]
        if self._tracking.tensorboard:
            self._sinks.append(TensorBoardSink(self._run_dir))
        if self._tracking.wandb != "off":
            self._attempt("wandb", self._add_wandb)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every sink and show the summary of the finished stages."""
        self._each(lambda sink: sink.close(failed=kind is not None))
        self._console.close()

    def begin(self, stage: str, total_steps: int, first_step: int = 0) -> None:
        """Start a stage, or go on with it: what was recorded from first_step on is dropped."""
        self._stage, self._step = stage, first_step
        self._attempt(files.WARNINGS, lambda: self._forget_warnings(stage, first_step))
        self._each(lambda sink: sink.begin(stage, first_step))
        self._history = []
        self._attempt(
            files.METRICS, lambda: self._history.extend(files.read_figures(self._run_dir, stage))
        )
        self.earlier_s = sum(finite(row.get("time/step_s")) or 0.0 for row in self._history)
        self._console.begin(stage, total_steps, first_step, self._history)

    def record(
        self,
        step: int,
        metrics: Metrics,
        seconds: Mapping[str, float] | None = None,
        trace: StepTrace | None = None,
    ) -> None:
        """Record the figures of one step; TrainingError when PPO stays above max_kl.

        Args:
            step: counts from 0 within the stage; one step may be recorded in several parts.
            metrics: its figures.
            seconds: further figures, such as the seconds of each phase.
            trace: the spans of the step's calls.
        """
        self._step = step
        values = {**metrics.means(), **(seconds or {})}
        self._each(lambda sink: sink.record(self._stage, step, values))
        self._console.record(step, values)
        if trace is not None and is_kept(step):
            kept = KeptTrace(self._stage, step, trace)
            self._attempt(files.TIMELINE, lambda: append_trace(self._run_dir, kept))
        for name, value in values.items():
            if not math.isfinite(value):
                self._warn_once(f"not finite: {name}", f"{name} is {value} at step {step}")
        if self._stage == PPO.name:
            self._history.append(values)
            for name, line in named_alarms(self._history).items():
                self._warn_once(name, line)
            stop_if_too_far(self._history, self._max_kl)

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Keep answers to the fixed prompts, in place of earlier ones of this stage and step."""
        self._each(lambda sink: sink.samples(stage, step, rows))

    def warn(self, message: str) -> None:
        """Show a warning once and keep it in RUN/warnings.jsonl."""
        self._warn_once(message, message)

    def note(self, message: str) -> None:
        """Show a line; it is not kept."""
        self._console.note(message)

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show a small table, such as the batch arithmetic."""
        self._console.table(title, columns, rows)

    def compare(self, before: Sequence[Sample], after: Sequence[Sample]) -> None:
        """Show answers to the same prompts before and after training."""
        self._console.compare(before, after)

    def end(self, stage: str) -> None:
        """Finish a stage; the next may begin."""
        if stage == self._stage:
            self._console.end()

    def _add_wandb(self) -> None:
        sink = open_wandb(self._run_dir, self._tracking, self._config, self._run_id, self.warn)
        self._sinks.append(sink)

    def _each(self, callback: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            self._attempt(sink.name, lambda sink=sink: callback(sink))

    def _attempt(self, name: str, callback: Callable[[], None]) -> None:
        try:
            callback()
        except SINK_FAILURES as error:
            line = str(error).partition("\n")[0]
            self._warn_once(
                f"sink: {name}",
                f"{name} failed ({type(error).__name__}: {line}); training goes on without it "
                "until it works again",
            )

    def _forget_warnings(self, stage: str, first_step: int) -> None:
        path = self._run_dir / files.WARNINGS
        files.keep_rows(path, lambda row: not repeats(row, stage, first_step))
        self._warned |= {str(row.get("name")) for row in files.read_rows(path)}

    def _warn_once(self, name: str, message: str) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        self._console.warn(message)
        when = {"time": time.time(), "stage": self._stage, "step": self._step}
        row = {**when, "name": name, "message": message}
        path = self._run_dir / files.WARNINGS
        self._attempt(files.WARNINGS, lambda: files.append_rows(path, [row]))
