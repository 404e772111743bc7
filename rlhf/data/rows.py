"""Rows: files and data sets become plain dicts that remember their file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rlhf.config.data import SourceConfig
from rlhf.data.document_folder import DOCUMENTS, documents_in, suffix_of
from rlhf.data.functions import as_lines
from rlhf.data.hub import read_hub, read_parquet
from rlhf.data.json_rows import Located, read_json, read_lines
from rlhf.data.pdf import pdf_text
from rlhf.data.problems import Problems
from rlhf.data.tables import decoded, read_table
from rlhf.errors import DataError
from rlhf.plugin import is_function


def _read_document(
    content: bytes, name: str, _: Problems, text_of: Callable[[bytes, str], str] = decoded
) -> Located:
    """Yield the whole text as one row; nothing where it is blank."""
    text = text_of(content, name)
    values: dict[str, object] = {"text": text}
    return iter([(values, f"{name}:1")] if text.strip() else [])


_READERS: dict[str, Callable[[bytes, str, Problems], Located]] = {
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_json,
    ".csv": partial(read_table, separator=","),
    ".tsv": partial(read_table, separator="\t"),
    **dict.fromkeys(DOCUMENTS, _read_document),
    ".pdf": partial(_read_document, text_of=pdf_text),
}
"""What reads a file's content, by suffix: (content, its path, what notes malformed rows)."""
_ZIP = b"PK\x03\x04"
_PACKED, _ANY_FILE = 200, 2**26
"""gzip packs texts 2 to 20 times smaller, and nothing more than 1,032 times; a file that holds no
more bytes than the second is read however it is packed."""
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
    folder: str = ""
    """The folder of documents that it is from."""


def read_rows(source: SourceConfig, problems: Problems | None = None) -> list[Row]:
    """Read one file or data set whole.

    Args:
        source: a file (see SUFFIXES), a folder of documents, a function FILE.py:NAME or
            packaged:NAME/KIND, or anything that
            `datasets.load_dataset` or `load_from_disk` knows, as NAME, NAME:SPLIT or
            NAME:CONFIG:SPLIT.
        problems: notes rows that are malformed; without it, they are an error here.

    Raises:
        DataError: when the source is missing, empty or malformed; lists the first 20 problems.
        ConfigError: when there is no such function.
    """
    path = source.path
    found = Problems(path) if problems is None else problems
    documents = documents_in(Path(path)) if Path(path).is_dir() else []
    document = bool(documents)
    if is_function(path):
        located = read_lines(as_lines(path), path, found)
    elif documents:
        located = _read_documents(documents, found)
    elif is_file(path):
        located = _read_file(Path(path), found)
        document = suffix_of(Path(path)) in DOCUMENTS
    else:
        located = read_hub(path)
    folder = path if documents else ""
    rows = [Row(values, where, document, folder=folder) for values, where in located]
    if problems is None:
        found.check()
    if not rows and not found:
        raise DataError(f"{path}: holds no rows; a source needs at least one")
    return rows


def is_file(path: str) -> bool:
    """Return whether a path means a file, and no name that `datasets` may know.

    Raises:
        DataError: when it is a file that cannot be read, or none where one is meant.
    """
    place = Path(path)
    if place.is_dir():
        return False
    if suffix_of(place) in SUFFIXES:
        return True
    legal = f"legal: {', '.join(SUFFIXES)}, .gz behind them, and FILE.py:NAME"
    if place.exists():
        raise DataError(f"{path}: is a file of a kind that is not read; {legal}")
    file, _, split = path.partition(":")
    if split and (Path(file).is_file() or suffix_of(Path(file)) in SUFFIXES):
        raise DataError(f"{path}: {file} is a file, which has no config or split; give {file}")
    if path.startswith((".", "/", "~")) and not Path(file).is_dir():
        raise DataError(f"{path}: no such file or folder; {legal}")
    return False


def _read_documents(paths: Sequence[Path], problems: Problems) -> Located:
    """Yield the text of every document of a folder; those that cannot be read are problems."""
    for path in paths:
        try:
            rows = list(_read_file(path, problems))
            if not rows:
                raise DataError(f"{path}: has no text")
            yield from rows
        except DataError as error:
            line, _, reason = str(error).removeprefix(str(path)).partition(": ")
            problems.add(f"{path}{line}", reason)


def _read_file(path: Path, problems: Problems) -> Located:
    if not path.is_file():
        raise DataError(f"{path}: no such file; paths are relative to the working folder")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; a source needs at least one row")
    suffix = suffix_of(path)
    if suffix == ".parquet":
        return read_parquet(path)
    return _READERS[suffix](_content(path), str(path), problems)


def _unpacked(path: Path) -> bytes:
    """Return what a file packed by gzip holds.

    Raises:
        DataError: when it holds far more than texts can be packed to, before all is unpacked.
    """
    most = max(_ANY_FILE, _PACKED * path.stat().st_size)
    with gzip.open(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DataError(
            f"{path}: holds more than {_PACKED} times its {path.stat().st_size:,} bytes, which no "
            "texts do; unpack it, look at it, and give what it holds"
        )
    return content


def _content(path: Path) -> bytes:
    """Return a file's bytes, unpacked and without a byte order mark.

    Raises:
        DataError: when it cannot be read or unpacked, or is UTF-16 or a zip file.
    """
    try:
        content = _unpacked(path) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    if content.startswith(_ZIP):
        remedy = "save it as CSV UTF-8" if suffix_of(path) in (".csv", ".tsv") else "unpack it"
        raise DataError(
            f"{path}: is a spreadsheet (.xlsx) or another zip file, though it is called "
            f"{path.suffix}: its first bytes are PK; {remedy}"
        )
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path}: not UTF-8 at byte 0 (0x{content[0]:02x}: UTF-16); save it as UTF-8"
        )
    return content.removeprefix(b"\xef\xbb\xbf")
