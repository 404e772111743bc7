"""Parquet files and `datasets` names: the one boundary to the datasets library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

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
    """Yield (values, `NAME:ROW`) of NAME or NAME:SPLIT, rows from 0; the split is train by default.

    Raises:
        DataError: when there is no such data set or split.
    """
    name, split = split_name(path)
    yield from _located(_load(name, split), path)


def split_name(path: str) -> tuple[str, str]:
    """Return the name and the split of NAME or NAME:SPLIT."""
    head, bracket, slice_ = path.partition("[")
    name, colon, split = head.rpartition(":")
    split += bracket + slice_
    return (name, split) if colon and "/" not in split else (path, "train")


def _load(name: str, split: str) -> Iterable[dict[str, object]]:
    import datasets
    from datasets.exceptions import DatasetsError

    datasets.disable_progress_bars()
    folder = Path(name)
    try:
        if (folder / "dataset_dict.json").is_file():
            return cast("Any", datasets.load_from_disk(name))[split]
        if (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file():
            return cast("Any", datasets.load_from_disk(name))
        return cast("Any", datasets.load_dataset(name, split=split))
    except KeyError as error:
        raise DataError(f"{name}: has no split {split}; name one as {name}:SPLIT") from error
    except (OSError, ValueError, DatasetsError) as error:
        raise DataError(
            f"{name}:{split}: neither a .jsonl, .json or .parquet file nor a readable data set: "
            f"{_cause(error)}"
        ) from error


def _located(table: Iterable[dict[str, object]], name: str) -> Located:
    for number, values in enumerate(table):
        yield dict(values), f"{name}:{number}"


def _cause(error: BaseException) -> str:
    """Return the first line of the underlying error, which is clearer than the library's own."""
    deepest = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    return (str(deepest).splitlines() or [type(deepest).__name__])[0]
