"""The files of a run folder by name, and two ways to write them: append lines, replace whole."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, cast

METRICS: Final = "metrics.jsonl"
SAMPLES: Final = "samples.jsonl"
WARNINGS: Final = "warnings.jsonl"
TIMELINE: Final = "timeline.jsonl"
EVALUATION: Final = "evaluation.json"
REWARD_MODEL: Final = "reward_model.json"
MANIFEST: Final = "manifest.json"
WANDB_ID: Final = "wandb_id"
TENSORBOARD: Final = "tensorboard"
REPORT: Final = "report.html"

RENAMED: Final = {
    "val/ratio": "policy/ratio",
    "val/ratio_var": "policy/ratio_var",
    "val/ratio_max": "policy/ratio_max",
    "val/clipfrac_avg": "value/clipfrac_avg",
    "val/explained_variance": "value/explained_variance",
    "values/mean": "value/mean",
    "values/first": "value/first",
    "values/quarter_1": "value/quarter_1",
    "values/quarter_2": "value/quarter_2",
    "values/quarter_3": "value/quarter_3",
    "values/quarter_4": "value/quarter_4",
}
"""Metrics of earlier releases, by the names they have now."""

Row = dict[str, object]


def read_rows(path: Path) -> list[Row]:
    """Return every JSON object of a JSON Lines file, in order; none when the file is missing.

    A line cut off by a crash or a full disk is left out: it was never a whole record.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    rows = (_parse(line) for line in lines)
    return [row for row in rows if row is not None]


def read_steps(run_dir: Path) -> list[Row]:
    """Return every recorded step, oldest first: stage, step and metrics, under today's names."""
    rows = read_rows(run_dir / METRICS)
    for row in rows:
        metrics = row.get("metrics")
        if isinstance(metrics, dict):
            named = cast("Row", metrics)
            row["metrics"] = {RENAMED.get(name, name): value for name, value in named.items()}
    return rows


def read_figures(run_dir: Path, stage: str) -> list[Row]:
    """Return the metrics of every step of a stage that the run has recorded, oldest first."""
    found = [row.get("metrics") for row in read_steps(run_dir) if row.get("stage") == stage]
    return [cast("Row", metrics) for metrics in found if isinstance(metrics, dict)]


def read_object(path: Path) -> Row:
    """Return the JSON object a file holds; empty when it is missing or not a whole object."""
    return (_parse(path.read_text("utf-8", errors="replace")) if path.exists() else None) or {}


def append_rows(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Append one line a row, after a fresh line break if the last line was cut off.

    Raises:
        OSError: when the disk refuses.
    """
    text = "".join(f"{_dump(row)}\n" for row in rows)
    with _naming(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else f"\n{text}"
        file.write(text.encode())


def keep_rows(path: Path, keep: Callable[[Row], bool]) -> None:
    """Rewrite a JSON Lines file with only the rows `keep` accepts; untouched if that is all.

    Raises:
        OSError: when the disk refuses; the file is then as it was.
    """
    rows = read_rows(path)
    kept = [row for row in rows if keep(row)]
    if len(kept) < len(rows):
        replace_text(path, "".join(f"{_dump(row)}\n" for row in kept))


def replace_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new one, never a part.

    Raises:
        OSError: when the disk refuses; the file is then as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _naming(path), draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in an error that does not: a full disk is met in the writing."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _dump(row: Mapping[str, object]) -> str:
    return json.dumps(row, ensure_ascii=True, allow_nan=False)


def _parse(line: str) -> Row | None:
    try:
        value: object = json.loads(line)
    except ValueError:
        return None
    return cast("Row", value) if isinstance(value, dict) else None
