"""A command's session: the run's folder, log and processes, open while its stages run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from rlhf.catalog.stages import STAGES_OF, TRAINING, StageRecord
from rlhf.checkpoint.run import open_run
from rlhf.checks.context import roles_needed
from rlhf.commands.restart import begin, restarting, when_cluster_ends
from rlhf.config.arithmetic import arithmetic
from rlhf.config.experiment import Experiment
from rlhf.observe.log import RunLog
from rlhf.observe.manifest import note_stage, write_manifest
from rlhf.report import write_report
from rlhf.report.figures import figures_of, objective
from rlhf.report.read import read_run
from rlhf.runtime.runtime import Processes
from rlhf.stages.inputs import Inputs
from rlhf.stages.moved import follow_move
from rlhf.stages.rehearsal import Rehearsal
from rlhf.stages.run import Run


@contextmanager
def opened(
    command: str, experiment: Experiment, inputs: Inputs, stages: list[StageRecord]
) -> Iterator[Run]:
    """Open the run's folder, log and (when first needed) processes; close all at the end."""
    config = experiment.model_dump(mode="json")
    with ExitStack() as stack:
        folder = stack.enter_context(open_run(Path(experiment.run_dir), config, command))
        log = stack.enter_context(
            RunLog(
                folder.path,
                experiment.tracking,
                config=config,
                run_id=folder.run_id,
                max_kl=experiment.sweep.max_kl,
            )
        )
        for line in follow_move(folder.path):
            log.note(line)
        if command in TRAINING:
            _announce(command, experiment, inputs, log)
            table = arithmetic(experiment, stages, inputs.rows())
            log.table("batch arithmetic", ["stage", "quantity", "value"], table)
        roles = roles_needed(stages, experiment)
        begin(experiment, log.note)
        on_end = when_cluster_ends(experiment)
        processes = stack.enter_context(Processes(experiment, roles, log, on_end))
        stack.enter_context(restarting(experiment))
        facts = partial(_rows, inputs)
        yield Run(
            experiment=experiment,
            opened=folder,
            inputs=inputs,
            runtime=processes.runtime,
            log=log,
            timings=processes.timings,
            rehearsal=Rehearsal(inputs, processes.runtime, log.note),
            finished=lambda stage, figures: note_stage(
                folder.path, stage, {**figures, **facts(stage), "nodes": processes.num_nodes}
            ),
        )


def _announce(command: str, experiment: Experiment, inputs: Inputs, log: RunLog) -> None:
    """Write the manifest; show what was left out of the data."""
    config, data = experiment.model_dump(mode="json"), inputs.described(experiment.data)
    write_manifest(Path(experiment.run_dir), command, _typed(command), config, data)
    for line in inputs.left_out:
        log.note(line)


def _rows(inputs: Inputs, stage: str) -> dict[str, int]:
    """Return how many rows a stage trained on, each as often as its weight says."""
    reads = STAGES_OF[stage][0].reads
    return {"rows": inputs.rows().get(reads, 0)}


def _typed(command: str) -> list[str]:
    """Return the command line as the user typed it."""
    verb = "reproduce" if sys.argv[0] == "rlhf reproduce" else command
    return ["rlhf", verb, *(argument.removeprefix("++") for argument in sys.argv[1:])]


def reported(run: Run) -> float | None:
    """Write the report; return the figure a sweep would compare."""
    run.log.note(f"report: {write_report(run.folder)}")
    return objective(figures_of(read_run(run.folder)))
