"""RunFiles: the files of a run folder, read without trust; a missing one counts as empty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rlhf.errors import ConfigError
from rlhf.observe import evaluations, files
from rlhf.observe.health import Health
from rlhf.observe.numbers import finite
from rlhf.observe.samples import Sample, read_samples
from rlhf.observe.spans import KeptTrace, read_traces

Points = list[tuple[float, float]]
"""(step, value) pairs in step order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFiles:
    """The parsed files of one run."""

    name: str
    """The folder's name."""
    curves: Mapping[str, Mapping[str, Points]]
    """Stage, then metric, to its points; null values are left out."""
    samples: Mapping[tuple[str, int], list[Sample]]
    """Answers to the fixed prompts by (stage, step)."""
    evaluation: files.Row
    """The judge's verdict; empty when there was none."""
    other_evaluations: tuple[files.Row, ...]
    """Verdicts of other judges, on other prompts or of other policies."""
    reward_model: files.Row
    """The reward model's quality on held-out pairs; empty when none was trained."""
    manifest: files.Row
    """What was trained on what; empty when the run has not written it."""
    warnings: tuple[str, ...]
    """Warnings raised while training, and the alarms that stand at the end of a stage."""
    traces: tuple[KeptTrace, ...]
    """Steps with the calls of every rank; none in runs from before these were kept."""

    def curve(self, stage: str, metric: str) -> Points:
        """Return the points of one metric; none when it was not recorded."""
        return self.curves.get(stage, {}).get(metric, [])

    @property
    def config(self) -> files.Row:
        """The resolved configuration; empty when unknown."""
        return section(self.manifest, "config")


def read_run(run_dir: Path) -> RunFiles:
    """Read a run folder; files that are missing or damaged count as empty."""
    rows = files.read_steps(run_dir)
    verdict = files.read_object(run_dir / files.EVALUATION)
    return RunFiles(
        name=run_dir.resolve().name,
        curves=_curves(rows),
        samples=read_samples(run_dir),
        evaluation=verdict,
        other_evaluations=tuple(row for row in evaluations.kept(run_dir) if row != verdict),
        reward_model=files.read_object(run_dir / files.REWARD_MODEL),
        manifest=files.read_object(run_dir / files.MANIFEST),
        warnings=_warnings(run_dir, rows),
        traces=tuple(read_traces(run_dir)),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """What a run has written so far, as plain lists and dicts."""

    folder: Path
    """The run's folder."""
    metrics: dict[str, list[dict[str, float | None]]]
    """Stage to a dict a step, oldest first: `step`, and each metric by name; None: not finite."""
    samples: list[files.Row]
    """Answers to the same prompts: stage, step, prompt, response, score, finished, length."""
    evaluations: list[files.Row]
    """Verdicts of judges, the run's own first, as in RUN/evaluation.json."""
    reward_model: files.Row
    """The reward model on rankings it has not seen, as in RUN/reward_model.json."""
    warnings: list[str]
    """What the run warned of, and alarms of its curves."""
    manifest: files.Row
    """What was trained on what, as in RUN/manifest.json: `config`, `versions`, `stages`, ..."""


def read_record(run_dir: Path) -> RunRecord:
    """Read a run folder for programs.

    Raises:
        ConfigError: when it holds no run.
    """
    if not (run_dir / files.METRICS).is_file() and not (run_dir / files.MANIFEST).is_file():
        raise ConfigError(
            f"{run_dir} holds no run ({files.METRICS}, {files.MANIFEST}); give the folder that was "
            "a run's run_dir"
        )
    rows = files.read_steps(run_dir)
    metrics: dict[str, list[dict[str, float | None]]] = {}
    for row in rows:
        figures = {name: finite(value) for name, value in section(row, "metrics").items()}
        step = int(number(row, "step") or 0)
        metrics.setdefault(words(row, "stage"), []).append({"step": step, **figures})
    return RunRecord(
        folder=run_dir,
        metrics=metrics,
        samples=files.read_rows(run_dir / files.SAMPLES),
        evaluations=evaluations.kept(run_dir),
        reward_model=files.read_object(run_dir / files.REWARD_MODEL),
        warnings=list(_warnings(run_dir, rows)),
        manifest=files.read_object(run_dir / files.MANIFEST),
    )


def section(row: Mapping[str, object], *path: str) -> files.Row:
    """Return the object at a path of keys; empty when there is none."""
    found: object = row
    for key in path:
        found = _row(found).get(key)
    return _row(found)


def number(row: Mapping[str, object], key: str) -> float | None:
    """Return a finite number, or None."""
    return finite(row.get(key))


def words(row: Mapping[str, object], key: str) -> str:
    """Return a value as text; empty when it is missing or null."""
    value = row.get(key)
    return "" if value is None else str(value)


def objects(row: Mapping[str, object], key: str) -> list[files.Row]:
    """Return the objects of a list; none when there is no such list."""
    found = row.get(key)
    entries = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("files.Row", entry) for entry in entries if isinstance(entry, dict)]


def bounds(row: Mapping[str, object], key: str) -> tuple[float, float] | None:
    """Return a [low, high] pair, or None."""
    found = row.get(key)
    ends = [finite(end) for end in cast("list[object]", found)] if isinstance(found, list) else []
    return (
        (ends[0], ends[1])
        if len(ends) == 2 and ends[0] is not None and ends[1] is not None
        else None
    )


def ends(points: Points) -> tuple[float, float]:
    """Return the mean of the first and of the last tenth, so that no single batch speaks."""
    values, size = [value for _, value in points], max(1, len(points) // 10)
    return sum(values[:size]) / size, sum(values[-size:]) / size


def _row(value: object) -> files.Row:
    return cast("files.Row", value) if isinstance(value, dict) else {}


def _curves(rows: list[files.Row]) -> dict[str, dict[str, Points]]:
    curves: dict[str, dict[str, dict[float, float]]] = {}
    for row in rows:
        stage, step = words(row, "stage"), number(row, "step")
        for name, value in section(row, "metrics").items():
            known = finite(value)
            if step is not None and known is not None:
                curves.setdefault(stage, {}).setdefault(name, {})[step] = known
    return {
        stage: {name: sorted(points.items()) for name, points in metrics.items()}
        for stage, metrics in curves.items()
    }


def _warnings(run_dir: Path, rows: list[files.Row]) -> tuple[str, ...]:
    alarms: dict[str, str] = {}
    for stage in dict.fromkeys(words(row, "stage") for row in rows):
        history = (section(row, "metrics") for row in rows if row.get("stage") == stage)
        alarms |= Health(stage, history).alarms()
    kept = {
        words(row, "name") or words(row, "message"): words(row, "message")
        for row in files.read_rows(run_dir / files.WARNINGS)
    }
    return tuple(dict.fromkeys({**kept, **alarms}.values()))


def chosen_loss(run: RunFiles, stage: str) -> tuple[str, str]:
    """Return the loss by which a stage of epochs chose its model, and its name in words.

    A run that keeps the last weights trains past the lowest validation loss on purpose.
    """
    by_training = words(section(run.config, stage), "keep") == "last"
    if run.curve(stage, "loss/validation") and not by_training:
        return "loss/validation", "validation"
    return "loss/train", "training"
