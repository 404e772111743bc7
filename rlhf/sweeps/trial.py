"""Trial: one run of a sweep, in this process or in one of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from rlhf.catalog.stages import PPO, STAGES_OF
from rlhf.checkpoint.run import TRIAL_LOG
from rlhf.commands.exit import INTERRUPTED, end_with
from rlhf.commands.table import run_command
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.errors import RLHFError, TrainingError
from rlhf.observe.files import EVALUATION, MANIFEST, read_figures, read_object
from rlhf.observe.health import too_far
from rlhf.report.read import section
from rlhf.runtime import watchdog
from rlhf.sweeps.table import TrialEnd

END_TIMEOUT_S = 60.0
"""Longest an interrupted trial may take to end by itself."""
RESULTS = {
    **{command: stages[-1].folder for command, stages in STAGES_OF.items()},
    "evaluate": EVALUATION,
}
"""The commands a sweep compares, and what each leaves in its run folder."""
ELSEWHERE = ("run_dir", "tracking", "checkpoint", "export", "cluster", "sweep", "plan")
"""Settings that decide nothing about a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What is to be run."""

    command: str
    name: str
    """Name of its folder below the sweep's."""
    settings: dict[str, str]
    """What it changes, by dotted path."""
    typed: list[str]
    """The overrides that make the same run without a sweep."""
    experiment: Experiment

    @property
    def folder(self) -> Path:
        """Its run folder."""
        return Path(self.experiment.run_dir)

    def is_finished(self) -> bool:
        """Return whether its result exists, made with these settings; its run checks the rest."""
        there = section(read_object(self.folder / MANIFEST), "config")
        here = self.experiment.model_dump(mode="json")
        return (self.folder / RESULTS[self.command]).exists() and all(
            there.get(key) == value for key, value in here.items() if key not in ELSEWHERE
        )

    def cut(self) -> TrialEnd | None:
        """Return its end when what it recorded so far is too far from the reference."""
        max_kl = self.experiment.sweep.max_kl
        seen = None if max_kl is None else too_far(read_figures(self.folder, PPO.name), max_kl)
        if seen is None:
            return None
        return TrialEnd(
            name=self.name,
            settings=self.settings,
            outcome="cut",
            detail=seen,
            code=TrainingError.exit_code,
        )

    def end(self, code: int, message: str) -> TrialEnd:
        """Return how it ended, by its exit code and last words."""
        if code == TrainingError.exit_code and (cut := self.cut()) is not None:
            return cut
        outcome = {0: "done", INTERRUPTED: "interrupted", TrainingError.exit_code: "diverged"}
        return TrialEnd(
            name=self.name,
            settings=self.settings,
            outcome=outcome.get(code, "failed"),  # type: ignore[arg-type]
            detail="" if code in (0, INTERRUPTED) else message,
            code=code,
        )

    def run_here(self) -> TrialEnd:
        """Run in this process; an interruption is passed on."""
        argv, sys.argv = sys.argv, [f"rlhf {self.command}", *self.typed]
        try:
            run_command(self.command, self.experiment)
        except RLHFError as error:
            return self.end(error.exit_code, str(error))
        finally:
            sys.argv = argv
        return self.end(0, "")


class TrialProcess:
    """A trial in a process of its own, whose output goes to a file in its run folder."""

    def __init__(self, trial: Trial) -> None:
        """Start it."""
        self._trial = trial
        trial.folder.mkdir(parents=True, exist_ok=True)
        self._log = trial.folder / TRIAL_LOG
        asked = {
            "command": trial.command,
            "typed": trial.typed,
            "experiment": trial.experiment.model_dump(mode="json"),
        }
        with self._log.open("wb") as output:
            self._process = watchdog.start("rlhf.sweeps.trial", output=output)
        self._stdin = cast("IO[bytes]", self._process.stdin)
        with suppress(BrokenPipeError):
            self._stdin.write(json.dumps(asked).encode() + b"\n")
            self._stdin.flush()

    def wait(self) -> TrialEnd:
        """Return how it ended."""
        code = self._process.wait()
        self.let_go()
        return self._trial.end(code, self._last_words(code))

    def let_go(self) -> None:
        """Interrupt it, as Ctrl-C would; returns at once."""
        with suppress(BrokenPipeError):
            self._stdin.close()

    def stop(self) -> None:
        """Interrupt it, and end it by force when it takes too long; it has ended on return."""
        self.let_go()
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        # What it started belongs to its session; on Ray, the cluster ends what is left.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _last_words(self, code: int) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}; see {self._log}"
        lines = self._log.read_text("utf-8", errors="replace").splitlines()
        messages = [line.removeprefix("rlhf: ") for line in lines if line.startswith("rlhf: ")]
        return messages[-1] if messages else f"exit code {code}; see {self._log}"


def run_trial() -> None:
    """Run the trial that the sweep's process sends to our standard input."""
    asked = json.loads(watchdog.read_line())
    interrupt_with(watchdog.on_end)
    sys.argv = [f"rlhf {asked['command']}", *asked["typed"]]
    end_with(lambda: run_command(asked["command"], load(asked["experiment"])))


def interrupt_with(on_end: Callable[[Callable[[], None]], None]) -> None:
    """Treat the end of the sweep's process as Ctrl-C, even where a shell set that to be ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    on_end(lambda: os.kill(os.getpid(), signal.SIGINT))


if __name__ == "__main__":
    run_trial()
