"""Parquet files and `datasets` names: the one boundary to the datasets library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from rlhf.errors import DataError

Located = Iterator[tuple[dict[str, object], str]]


def read_parquet(path: Path) -> Located:
    """Yield (values, `FILE:ROW`) of a parquet file, rows from 0.

    Raises:
        DataError: when it is not a parquet file.
    """
    # The import takes seconds; runs on .jsonl files go without it.
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        try:
            table = datasets.Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True)
        except (OSError, ValueError, DatasetsError) as error:
            raise DataError(f"{path}: not a readable parquet file: {_cause(error)}") from error
        yield from _located(cast("Iterable[dict[str, object]]", table), str(path))


def read_hub(path: str) -> Located:
    """Yield (values, `NAME:ROW`) of a data set, rows from 0.

    Args:
        path: NAME, NAME:SPLIT or NAME:CONFIG:SPLIT; the split is train by default.

    Raises:
        DataError: when there is no such data set, config or split.
    """
    yield from _located(_load(split_name(path)), path)


class DataSetName(NamedTuple):
    """What NAME:CONFIG:SPLIT says."""

    name: str
    config: str | None
    split: str


def split_name(path: str) -> DataSetName:
    """Return the parts of NAME, NAME:SPLIT or NAME:CONFIG:SPLIT."""
    head, bracket, slice_ = path.partition("[")
    name, *parts = head.split(":")
    if not parts or any("/" in part for part in parts) or len(parts) > 2:
        return DataSetName(path, None, "train")
    config = parts[0] if len(parts) == 2 else None
    return DataSetName(name, config or None, (parts[-1] or "train") + bracket + slice_)


def _load(asked: DataSetName) -> Iterable[dict[str, object]]:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    name, config, split = asked
    folder = Path(name)
    try:
        if (folder / "dataset_dict.json").is_file():
            return _split_of(cast("Any", datasets.load_from_disk(name)), asked)
        if (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file():
            return cast("Any", datasets.load_from_disk(name))
        return cast("Any", datasets.load_dataset(name, config, split=split))
    except (OSError, ValueError, DatasetsError) as error:
        shown = ":".join(part for part in asked if part)
        raise DataError(
            f"{shown}: neither a file of a kind that is read nor a readable data set: "
            f"{_cause(error)}"
        ) from error


def _split_of(saved: Mapping[str, Any], asked: DataSetName) -> Any:
    if asked.split not in saved:
        there = ", ".join(sorted(saved))
        raise DataError(f"{asked.name}: has no split {asked.split}; those there are: {there}")
    return saved[asked.split]


def _located(table: Iterable[dict[str, object]], name: str) -> Located:
    if hasattr(table, "iter"):  # columns of many rows at a time cost a tenth
        batches = cast("Any", table).iter(batch_size=1000)
        values = (
            dict(zip(batch, row, strict=True))
            for batch in batches
            for row in zip(*batch.values(), strict=True)
        )
    else:
        values = (dict(row) for row in table)
    for number, row in enumerate(values):
        yield row, f"{name}:{number}"


def _cause(error: BaseException) -> str:
    """Return the first line of the underlying error, which is clearer than the library's own."""
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return (str(deepest).splitlines() or [type(deepest).__name__])[0]
