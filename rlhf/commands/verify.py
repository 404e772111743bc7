"""`rlhf verify RUN`: every file of a run against what was recorded when it was written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rlhf.checkpoint.artifact import KINDS, START, verify
from rlhf.checkpoint.manifest import DamagedError, check_step
from rlhf.checkpoint.run import RECORDED_START, RUN_FILE, read_record
from rlhf.errors import CheckpointError, ConfigError
from rlhf.observe import evaluations, files

USAGE = "rlhf verify RUN"
HELP = """Hashes every model and checkpoint of a run's folder, and reads its other files; changes
nothing. exit codes: 0 all is as it was written, 2 something is damaged or RUN is no run.
"""
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
    if list(arguments[:1]) in (["-h"], ["--help"]):
        sys.stdout.write(f"usage: {USAGE}\n\n{HELP}")
        return
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
    for folder in (run_dir / kind for kind in KINDS):
        if folder.is_dir():
            yield folder, lambda folder=folder: _model(folder, record)
    for step in sorted((run_dir / "checkpoints").glob("*/step_*")):
        yield step, lambda step=step: f"whole, {check_step(step)} files"
    for name in (*OBJECTS, *(f"{evaluations.FOLDER}/*.json",)):
        for path in sorted(run_dir.glob(name)):
            yield path, lambda path=path: _object(path)
    for path in (run_dir / name for name in ROWS):
        if path.is_file():
            yield path, lambda path=path: _rows(path)


def _model(folder: Path, record: Path) -> str:
    if folder.name == START and read_record(record).schema_version < RECORDED_START:
        return "not recorded, as the run was begun by an earlier release"
    artifact = verify(folder)
    return f"whole, {len(artifact.weights_sha256) + len(artifact.files_sha256)} files"


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
