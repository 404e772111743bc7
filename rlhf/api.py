"""The Python door: what `import rlhf` offers to notebooks and scripts.

    config = rlhf.load_config("ppo", ["policy.path=models/mine", "run_dir=runs/a"])
    for step in rlhf.steps(config):
        print(step.stage, step.step, step.metrics)
    run = rlhf.read_run("runs/a")

The same settings, checks, files and errors as on the command line (docs/python_api.md).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal, get_args

from rlhf.catalog.stages import TrainingCommand
from rlhf.cli.main import DRIVER_ENVIRONMENT
from rlhf.cli.settings import compose_settings
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.observe.listener import heard_by
from rlhf.report.read import RunRecord, read_record

Command = Literal[TrainingCommand, "evaluate"]
"""What can be run: all stages one after another, one of them, or a comparison of two policies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """The checked settings of one run."""

    command: Command
    """What it runs."""
    overrides: tuple[str, ...]
    """What was given; `rlhf COMMAND OVERRIDES` is the same run."""
    settings: Experiment
    """Every setting, such as `settings.ppo.kl_coef` (docs/configuration.md)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of a stage, while it trains."""

    stage: str
    """sft, reward_model or ppo."""
    step: int
    """Counts from 0 within the stage; after a resume, from where that went on."""
    metrics: Mapping[str, float]
    """Name to value (docs/metrics.md)."""


def load_config(command: Command, overrides: Sequence[str] = ()) -> Config:
    """Compose and check the settings of a run.

    Args:
        command: What is to be run.
        overrides: KEY=VALUE or GROUP=NAME, as on the command line.

    Raises:
        ConfigError: all that is wrong with the settings, a line a problem.
    """
    if command not in get_args(Command):
        raise ConfigError(f"command={command!r}: legal: {', '.join(get_args(Command))}")
    if isinstance(overrides, str):
        raise ConfigError(f"overrides={overrides!r} is one text; give a list of them")
    settings = compose_settings(command, list(overrides))
    if settings.sweep.parallel > 1:
        raise ConfigError(f"sweep.parallel={settings.sweep.parallel} is for a sweep; leave it at 1")
    return Config(command=command, overrides=tuple(overrides), settings=settings)


def run(config: Config) -> RunRecord:
    """Run to the end, or go on with an earlier run of this folder; return what it wrote.

    Raises:
        RLHFError: as the command line, which would end with its exit code.
        KeyboardInterrupt: the same config then goes on from the last checkpoint.
    """
    _run(config)
    return read_run(config.settings.run_dir)


def steps(config: Config) -> Iterator[Step]:
    """Run as `run` does, and yield every step as it is recorded; the run waits for the caller.

    Leaving the loop stops the run as Ctrl-C would; the same config then goes on from the last
    checkpoint. Stages that are finished already yield nothing; after a restart
    (cluster.max_restarts) the steps since the last checkpoint are yielded again.

    Raises:
        RLHFError: as `run`, once the steps before it were yielded.
    """
    running = _Running(config)
    try:
        while (step := running.heard.get()) is not None:
            yield step
            running.go_on.release()
    finally:
        running.stop()
    if running.error is not None:
        raise running.error


def read_run(folder: str | Path) -> RunRecord:
    """Read what a run has written, while it trains or after; torch is not needed.

    Raises:
        ConfigError: when the folder holds no run.
    """
    return read_record(Path(folder))


class _Running:
    """A run in a thread of its own, one step ahead of nobody."""

    def __init__(self, config: Config) -> None:
        self.heard: SimpleQueue[Step | None] = SimpleQueue()
        """Its steps; None once it has ended."""
        self.go_on = threading.Semaphore(0)
        """Released once a step, by who read it."""
        self.error: BaseException | None = None
        self._is_stopped = False
        self._thread = threading.Thread(target=self._work, args=(config,), name="rlhf run")
        self._thread.start()

    def stop(self) -> None:
        """End the run, if it has not ended; returns when it has."""
        self._is_stopped = True
        self.go_on.release()
        self._thread.join()

    def _work(self, config: Config) -> None:
        try:
            with heard_by(self._hear):
                _run(config)
        except BaseException as error:  # noqa: BLE001 - it is the caller's, and raised there
            self.error = None if self._is_stopped else error
        finally:
            self.heard.put(None)

    def _hear(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        self.heard.put(Step(stage=stage, step=step, metrics=metrics))
        self.go_on.acquire()
        if self._is_stopped:
            raise KeyboardInterrupt


def _run(config: Config) -> None:
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Torch and transformers take seconds to import; reading a run needs neither.
    from rlhf.commands.restart import run_again
    from rlhf.commands.table import run_command

    with _as_typed(config):
        run_again(lambda: run_command(config.command, config.settings))


@contextmanager
def _as_typed(config: Config) -> Iterator[None]:
    """Let the manifest name the command that makes the same run, not a notebook's server."""
    argv, sys.argv = sys.argv, [f"rlhf {config.command}", *config.overrides]
    try:
        yield
    finally:
        sys.argv = argv
