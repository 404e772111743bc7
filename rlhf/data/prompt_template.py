"""Prompt template: data.prompt_template makes the prompt of a row out of its other columns."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from string import Formatter

from rlhf.config.data import COLUMNS
from rlhf.data.problems import Problems
from rlhf.data.rows import Row
from rlhf.errors import DataError

_LINE_BREAK = re.compile(r"(\\?)\\n")


def with_prompts(
    rows: Sequence[Row],
    template: str,
    columns: Mapping[str, str | None],
    problems: Problems,
    *,
    keeps: bool,
) -> list[Row]:
    r"""Return the rows with a prompt made of their columns; documents stay as they are.

    Args:
        rows: of one source, after data.columns.
        template: text with {column} where a value goes; \n as two letters is a line break.
        columns: data.columns, which the rows have been through.
        problems: notes rows with a column that is absent, empty or no text, and such that have a
            prompt which would be lost; its subject is the source's name.
        keeps: whether the columns stay beside the prompt (for a reward function).

    Raises:
        DataError: when no row has a column that is named.
    """
    seen = {name for row in rows if not row.document for name in row.values}
    parts = list(_parts(template, columns, seen))
    names = [name for _, name in parts if name is not None]
    _check_columns(seen, names, problems.subject)
    used = set() if keeps else {name for name in names if name not in COLUMNS}
    found: list[Row] = []
    for row in rows:
        if row.document:
            found.append(row)
            continue
        try:
            _check_own_prompt(row.values, names)
            filled = [t if name is None else t + _text(row.values, name) for t, name in parts]
        except DataError as error:
            problems.add(row.where, error)
            continue
        rest = {name: value for name, value in row.values.items() if name not in used}
        found.append(Row({**rest, "prompt": "".join(filled)}, row.where))
    return found


def _parts(
    template: str, columns: Mapping[str, str | None], seen: Collection[str]
) -> Iterator[tuple[str, str | None]]:
    """Yield each text of a template, and the column behind it by its name in rows."""
    new_names = {own: name for name, own in columns.items() if own is not None}
    for text, name, _, _ in Formatter().parse(template):
        broken = _LINE_BREAK.sub(lambda found: r"\n" if found[1] else "\n", text)
        yield broken, name if name is None or name in seen else new_names.get(name, name)


def _check_columns(seen: Collection[str], names: Sequence[str], path: str) -> None:
    absent = [name for name in names if name not in seen]
    if absent and seen:
        near = difflib.get_close_matches(absent[0], sorted(seen), n=1)
        nearest = f"; nearest: {near[0]}" if near else ""
        raise DataError(
            f"{path}: data.prompt_template names {absent[0]}, but its columns are "
            f"{', '.join(sorted(seen)[:20])}{nearest}"
        )


def _check_own_prompt(values: Mapping[str, object], names: Sequence[str]) -> None:
    if values.get("prompt") is not None and "prompt" not in names:
        raise DataError(
            "has a prompt that data.prompt_template would replace; write {prompt} into it, or say "
            "data.columns={prompt: null}"
        )


def _text(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise DataError(f"{name} of data.prompt_template is empty")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise DataError(f"{name} of data.prompt_template is of type {kind}; it must be text")
    return str(value)
