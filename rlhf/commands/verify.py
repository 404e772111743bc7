"""`rlhf verify RUN`: every file of a run against what was recorded when it was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rlhf.catalog.stages import STAGES_OF
from rlhf.checkpoint.finished import check_finished, finished
from rlhf.checkpoint.manifest import DamagedError, check_step
from rlhf.checkpoint.run import RUN_FILE, read_record
from rlhf.errors import CheckpointError, ConfigError
from rlhf.observe import evaluations, files
from rlhf.report.read import number, section
from rlhf.stages.moved import moved_bases

USAGE = "rlhf verify RUN"
OBJECTS = (files.MANIFEST, files.EVALUATION, files.REWARD_MODEL)
ROWS = (files.METRICS, files.SAMPLES, files.WARNINGS, files.TIMELINE)


def verify_run(arguments: Sequence[str]) -> None:
    """Check a run's folder and print a line a part.

    Args:
        arguments: RUN, or run_dir=RUN, as typed.

    Raises:
        ConfigError: when RUN is no run's folder.
        CheckpointError: naming everything that is damaged, a line each.
    """
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise ConfigError(f"name the folder of one run: {USAGE}")
    run_dir = Path(arguments[0].removeprefix("run_dir="))
    if not (run_dir / RUN_FILE).is_file():
        raise ConfigError(f"{run_dir} holds no run (no {RUN_FILE}); give the folder of one")
    problems: list[str] = []
    for path, check in _parts(run_dir):
        try:
            sys.stdout.write(f"{path}: {check()}\n")
        except (CheckpointError, DamagedError) as error:
            problems += [line for line in str(error).splitlines() if line not in problems]
    if problems:
        raise CheckpointError("\n".join(problems))


def _parts(run_dir: Path) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield every part of a run that is there, with a check that says what was found."""
    record = run_dir / RUN_FILE
    yield record, lambda: f"layout {read_record(record).schema_version}"
    for folder in finished(run_dir):
        yield folder, lambda folder=folder: check_finished(folder)
    for adapters, named, base in moved_bases(run_dir):
        text = f"names its base as {named}, which is {base} now; the run's next command writes that"
        yield adapters, lambda text=text: text
    for stage, figures in section(files.read_object(run_dir / files.MANIFEST), "stages").items():
        yield run_dir, lambda stage=stage, done=figures: _finished(run_dir, stage, done)
    for step in sorted((run_dir / "checkpoints").glob("*/step_*")):
        yield step, lambda step=step: f"whole, {check_step(step)} files"
    yield from _records(run_dir)


def _records(run_dir: Path) -> Iterator[tuple[Path, Callable[[], str]]]:
    """Yield every file of figures and facts that is there, with its check."""
    for name in (*OBJECTS, *(f"{evaluations.FOLDER}/*.json",)):
        for path in sorted(run_dir.glob(name)):
            yield path, lambda path=path: _object(path)
    for path in (run_dir / name for name in ROWS):
        if path.is_file():
            yield path, lambda path=path: _rows(path)


def _finished(run_dir: Path, stage: str, figures: object) -> str:
    """Check that a stage which the manifest calls finished has left its model and its steps."""
    (record,) = STAGES_OF[stage]
    is_published = not (run_dir / "checkpoints" / stage).exists()
    if is_published and not (run_dir / record.folder).exists():
        raise CheckpointError(
            f"{run_dir / record.folder} is missing, though {stage} was finished; put it back, or "
            f"run {stage} again"
        )
    steps = int(number(figures, "steps") or 0) if isinstance(figures, dict) else 0
    recorded = {row.get("step") for row in files.read_steps(run_dir) if row.get("stage") == stage}
    if len(recorded) < steps:
        raise CheckpointError(
            f"{run_dir / files.METRICS} has {len(recorded)} of the {steps} steps that {stage} took"
        )
    return f"{stage} took {steps} steps"


def _object(path: Path) -> str:
    if not files.read_object(path):
        raise CheckpointError(f"{path} is damaged: it holds no JSON object; run its command again")
    return "readable"


def _rows(path: Path) -> str:
    lines = path.read_bytes().splitlines(keepends=True)
    broken = [number for number, line in enumerate(lines, 1) if not _is_row(line)]
    # The last line may be cut by a kill; the next command's first line goes below it.
    if broken:
        raise CheckpointError(f"{path}:{broken[0]} is damaged: it holds no JSON object")
    return f"{len(lines):,} lines"


def _is_row(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return True
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
