"""Sweep: runs the trials of `rlhf COMMAND -m ...`, one after another or several at a time.

Trials of a grid are known beforehand and start when all are; a search asks for one at a time and
needs its figure. Trials that are finished, or were cut, are reported at once. All others share
one Ray cluster.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from rlhf.commands.exit import INTERRUPTED
from rlhf.errors import ConfigError, RLHFError, TrainingError, WorkerError
from rlhf.observe.console import Console
from rlhf.observe.files import METRICS
from rlhf.report import write_report
from rlhf.report.figures import figures_of, objective
from rlhf.report.read import read_run
from rlhf.runtime.reach import address_of
from rlhf.runtime.shared import SharedCluster
from rlhf.sweeps.page import write_page
from rlhf.sweeps.several import run_several
from rlhf.sweeps.table import (
    TrialEnd,
    headline,
    read_ends,
    read_trials,
    table,
    write_ends,
)
from rlhf.sweeps.trial import Trial

WORST = float("-inf")
"""The figure that a search gets for a trial that was cut or diverged."""
ERRORS: dict[int, type[RLHFError]] = {
    error.exit_code: error for error in (RLHFError, ConfigError, WorkerError, TrainingError)
}


class Sweep:
    """The trials of one command line; a context that ends their cluster and shows the table."""

    def __init__(self, command: str, folder: Path) -> None:
        """Read the trials that an earlier start of the sweep left in its folder."""
        self._command, self._folder = command, folder
        self._console = Console(live=False)
        self._trials: dict[str, Trial] = {}
        self._before = read_ends(folder)
        self._ends: dict[str, TrialEnd] = {}
        self._open = ExitStack()
        self._own_cluster = False

    def refuse(self, name: str, settings: dict[str, str], error: ConfigError) -> None:
        """Count a trial that cannot be composed as failed."""
        code = error.exit_code
        end = TrialEnd(name=name, settings=settings, outcome="failed", detail=str(error), code=code)
        self._ends[name] = end
        sys.stderr.write(f"rlhf: {name}: {error}\n")

    def add(self, trial: Trial) -> None:
        """Add a trial of a grid; `run` starts it."""
        self._trials.setdefault(trial.name, trial)

    def search(self, trial: Trial) -> float | None:
        """Run a trial now; return its figure, higher is better; None when it failed.

        Raises:
            ConfigError: when several are to run at a time.
        """
        parallel = trial.experiment.sweep.parallel
        if parallel > 1:
            raise ConfigError(
                f"sweep.parallel={parallel} is for a grid, whose trials are known beforehand; a "
                "search asks for one after another; legal: 1"
            )
        self._trials[trial.name] = trial
        if trial.name not in self._ends:
            self._run_here(trial)
        outcome = self._ends[trial.name].outcome
        if outcome == "done":
            return objective(figures_of(read_run(trial.folder)))
        return None if outcome == "failed" else WORST

    def run(self) -> None:
        """Run all trials that were added and have not run; those that need no processes first.

        Raises:
            KeyboardInterrupt: when interrupted; no trial runs any longer then.
        """
        added = [trial for trial in self._trials.values() if trial.name not in self._ends]
        trials = sorted(added, key=self._needs_processes)
        longest = [trial for trial in trials if self._needs_processes(trial)]
        at_once = min(trials[0].experiment.sweep.parallel, len(longest)) if trials else 1
        for trial in trials:
            if trial not in longest or at_once == 1:
                self._run_here(trial)
        if at_once > 1:
            longest = [self._connected(trial) for trial in longest]
            run_several(longest, at_once, started=self._report_start, ended=self._take)

    def raise_failure(self) -> None:
        """Raise what the first failed trial of this start ended with, if one did."""
        failed = [end for end in self._ends.values() if end.outcome == "failed"]
        if failed:
            raise ERRORS.get(failed[0].code, RLHFError)(
                f"{len(failed)} of {len(self._ends)} trials failed, the first of them "
                f"{failed[0].name}: {failed[0].detail}"
            )

    def _needs_processes(self, trial: Trial) -> bool:
        return not trial.is_finished() and self._known(trial) is None

    def _known(self, trial: Trial) -> TrialEnd | None:
        """Return the end of an unfinished trial that is not tried again: cut, or diverged."""
        before = self._before.get(trial.name)
        return trial.cut() or (before if before and before.outcome == "diverged" else None)

    def _run_here(self, trial: Trial) -> None:
        if not trial.is_finished():
            if (end := self._known(trial)) is not None:
                self._take(trial, end)
                return
            trial = self._connected(trial)
        self._report_start(trial)
        try:
            end = trial.run_here()
        except KeyboardInterrupt:
            self._take(trial, trial.end(INTERRUPTED, ""))
            raise
        self._take(trial, end)

    def _connected(self, trial: Trial) -> Trial:
        """Return the trial as one that uses the sweep's own cluster, where no other is named."""
        cluster, parallel = trial.experiment.cluster, trial.experiment.sweep.parallel
        if cluster.backend != "ray" or cluster.address not in ("auto", "local"):
            return trial
        if address_of(cluster) == "local" and not self._own_cluster:
            shared = SharedCluster(parallel, cluster.timeout_s)
            self._console.note(f"starting one Ray cluster for all trials: {shared.num_cpus} CPUs")
            self._open.enter_context(shared)
            self._open.enter_context(_variables(shared.environment()))
            self._own_cluster = True
        if not self._own_cluster:
            return trial
        update = {"cluster": cluster.model_copy(update={"address": "auto"})}
        return replace(trial, experiment=trial.experiment.model_copy(update=update))

    def _report_start(self, trial: Trial) -> None:
        self._console.note(f"{self._place(trial)} starts: {trial.folder}")

    def _take(self, trial: Trial, end: TrialEnd) -> None:
        """Note how a trial ended, and write the table and the page anew."""
        self._ends[trial.name] = end
        ended_well = end.outcome in ("done", "interrupted")
        if not ended_well and (trial.folder / METRICS).is_file():
            write_report(trial.folder)
        line = f"{self._place(trial)} {headline(end, figures_of(read_run(trial.folder)))}"
        (self._console.note if ended_well else self._console.warn)(line)
        self._write()

    def _place(self, trial: Trial) -> str:
        at = [*self._trials].index(trial.name) + 1
        return f"[{at}/{len(self._trials)}] {trial.name}"

    def _write(self) -> tuple[list[str], list[list[str]]]:
        """Write the results of the folder's trials; return their table."""
        self._folder.mkdir(parents=True, exist_ok=True)
        trials = read_trials(self._folder, {**self._before, **self._ends}.values())
        write_ends(self._folder, self._command, trials)
        write_page(self._folder, self._command, trials)
        return table(trials)

    def __enter__(self) -> Self:
        """Return the sweep; leaving the block ends its cluster and shows the table."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the cluster; show the table of all trials in the folder."""
        self._open.close()
        if not self._ends:
            return
        heads, rows = self._write()
        self._console.table("Trials, best first", heads, rows)
        self._console.note(f"sweep: {self._folder / 'sweep.html'}")


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for all that is started meanwhile; then put the old ones back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            del os.environ[name]
            if value is not None:
                os.environ[name] = value
