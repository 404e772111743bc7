"""JSON rows: JSON lines and arrays of objects, each with the place it stands in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import cast

from rlhf.data.problems import Problems
from rlhf.errors import DataError

Located = Iterator[tuple[dict[str, object], str]]

_DEEPEST = 100
"""Objects and arrays inside one another; all that read a row later can follow so many."""
_NESTING = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


def read_lines(content: bytes, name: str, problems: Problems) -> Located:
    """Yield (values, `FILE:LINE`) of JSON lines, lines from 1; blank ones are passed over."""
    # Only \n ends a line: U+2028 and its like may stand inside a JSON string.
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line or line.isspace():
            continue
        where = f"{name}:{number}"
        try:
            values = _object(parse_json(line))
        except DataError as error:
            problems.add(where, error)
        else:
            yield values, where


def read_array(content: bytes, name: str, problems: Problems) -> Located:
    """Yield (values, `FILE:ROW`) of an array of objects, rows from 0.

    Raises:
        DataError: when the text is not an array.
    """
    try:
        entries = parse_json(content)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
    for number, entry in enumerate(cast("list[object]", entries)):
        where = f"{name}:{number}"
        try:
            values = _object(entry)
        except DataError as error:
            problems.add(where, error)
        else:
            yield values, where


def read_json(content: bytes, name: str, problems: Problems) -> Located:
    """Yield the rows of a .json file: an array of objects, or one object a line.

    Raises:
        DataError: when it is neither.
    """
    if content.lstrip().startswith(b"["):
        return read_array(content, name, problems)
    first = content.lstrip().partition(b"\n")[0]
    try:
        parse_json(first)
    except DataError:
        _refuse_one_value(content, name)
    return read_lines(content, name, problems)


def _refuse_one_value(content: bytes, name: str) -> None:
    """Refuse an object over several lines, which is one value and no row a line."""
    try:
        parse_json(content)
    except DataError:
        return
    raise DataError(
        f"{name}: holds one object over several lines; "
        "a .json file is an array of objects, or one object a line"
    )


def parse_json(raw: bytes) -> object:
    """Return the value of a text in UTF-8 JSON.

    Raises:
        DataError: with the reason and the place inside `raw`.
    """
    try:
        text = raw.decode("utf-8")
        if raw.count(b"[") + raw.count(b"{") > _DEEPEST:
            _check_depth(raw)
        value = _DECODER.decode(text)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except DataError:
        raise
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise DataError(
            f"not UTF-8 at byte {error.start} (0x{byte:02x}); save the file as UTF-8"
        ) from error
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


def _check_depth(raw: bytes) -> None:
    depth = 0
    for found in _NESTING.finditer(raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found.group(), 0)
        if depth > _DEEPEST:
            raise DataError(f"nested more than {_DEEPEST} deep")


def _entries(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{twice[:80]} stands twice in one object; which value counts is not said")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_entries)


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        kind = {"list": "array", "str": "string", "NoneType": "null"}
        name = type(value).__name__
        raise DataError(f"{_article(kind.get(name, name))} where an object is needed")
    return cast("dict[str, object]", value)


def _article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
