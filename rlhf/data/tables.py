"""Tables: CSV and TSV files, whose cells are text and whose empty cells are null."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from collections.abc import Iterator, Sequence

from rlhf.data.json_rows import Located
from rlhf.data.problems import Problems
from rlhf.errors import DataError

_log = logging.getLogger(__name__)
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs"}


def read_table(content: bytes, name: str, problems: Problems, *, separator: str) -> Located:
    r"""Yield (values, `FILE:LINE`) of a table with a header; the line is a row's first.

    Cells between quotes may hold line ends, each read as one \n. Cells that are JSON objects, or
    lists of them, are read as such; all others stay text.

    Args:
        content: the file.
        name: its path.
        problems: notes rows with another number of cells than the header.
        separator: what stands between two cells by its suffix; a header that has another one
            instead is read by that, and told.

    Raises:
        DataError: when it is not UTF-8, its header is not one, or a quote is not closed.
    """
    text = decoded(content, name)
    separator = _separator(text, name, separator)
    lines = _cells(text, name, separator)
    header = _header(next(lines, (1, []))[1], name)
    for line, cells in lines:
        where = f"{name}:{line}"
        if len(cells) != len(header):
            problems.add(where, f"{len(cells)} cells where the header has {len(header)}")
            continue
        try:
            entries = zip(header, cells, strict=True)
            values = {column: _value(cell, column) for column, cell in entries if column}
        except DataError as error:
            problems.add(where, error)
        else:
            yield values, where


def decoded(content: bytes, name: str) -> str:
    r"""Return the text of a UTF-8 file; its lines end with \n, whichever system wrote it.

    Raises:
        DataError: naming the line and byte where it is something else.
    """
    try:
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name}:{line}: not UTF-8 at byte {error.start} of the file "
            f"(0x{content[error.start]:02x}); save it as UTF-8"
        ) from error


def _separator(text: str, name: str, usual: str) -> str:
    header = text.lstrip("\r\n").partition("\n")[0]
    if usual in header:
        return usual
    other = max((s for s in _NAMES if s != usual), key=header.count)
    if not header.count(other):
        return usual
    _log.warning("%s: its header has no %s; reading as: separated by %s", name,
                 _NAMES[usual], _NAMES[other])  # fmt: skip
    return other


def _cells(text: str, name: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) of every row but blank ones."""
    before = csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        reason = "a quote is never closed" if "end of data" in str(error) else str(error)
        raise DataError(
            f"{name}:{line}: not readable as a table: {reason}; a cell with a quote in it stands "
            'between quotes, its own doubled: "say ""hi"""'
        ) from error
    finally:
        csv.field_size_limit(before)


def _header(cells: Sequence[str], name: str) -> list[str]:
    header = [cell.strip() for cell in cells]
    if not header or not any(header):
        raise DataError(f"{name}:1: has no header; the first line names the columns")
    if not header[0] and all(header[1:]):
        _log.warning("%s: its first column has no name (a table's index), and is not read", name)
        return header
    if not all(header):
        raise DataError(f"{name}:1: column {header.index('') + 1} of the header has no name")
    twice = (
        [cell for cell in header if header.count(cell) > 1] if len({*header}) < len(header) else []
    )
    if twice:
        raise DataError(f"{name}:1: column {twice[0][:80]} stands twice in the header")
    return header


def _value(cell: str, column: str) -> object:
    if not cell:
        return None
    start = cell[:40].lstrip()
    if not start.startswith(("[{", "{")):
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        if start.startswith(("[{'", "{'")):
            raise DataError(
                f"{column} is a list or object as Python prints it, not JSON; "
                "write it with json.dumps"
            ) from None
        return cell
