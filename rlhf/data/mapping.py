"""Mapping: the file's own names of columns become TRL's, and what is not to be read goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlhf.data.columns import Columns, fitting
from rlhf.data.rows import Row
from rlhf.errors import DataError


def renamed(
    rows: Sequence[Row], columns: Mapping[str, str | None], path: str, legal: Sequence[Columns]
) -> list[Row]:
    """Return the rows with data.columns applied, which may name columns of other sources, too.

    Args:
        rows: as they are in their file.
        columns: TRL's name of a column to the file's; any name to None for one not to be read.
        path: names the source in errors.
        legal: TRL's columns for what the rows are read for.

    Raises:
        DataError: when no row has a column that was named, and they do not do without it.
    """
    if not columns:
        return list(rows)
    new = [replace(row, values=_renamed(row.values, columns)) for row in rows]
    seen = {name for row in rows for name in row.values}
    wanted = {name for names in legal for name in names}
    if "chosen" in wanted:
        wanted.add("margin")
    fits = any(fitting(row.values, legal) for row in new)
    for name, own in columns.items():
        absent = own is not None and name in wanted and not {own, name} & seen
        if absent and (name == "margin" or not fits):
            found = ", ".join(sorted(seen)[:20])
            raise DataError(f"{path}: data.columns.{name}={own}, but its columns are {found}")
    return new


def _renamed(values: Mapping[str, object], columns: Mapping[str, str | None]) -> dict[str, object]:
    taken = {own for own in columns.values() if own in values}
    absent = {name for name, own in columns.items() if own is None or own in values}
    kept = {k: v for k, v in values.items() if k not in taken and k not in absent}
    new = {name: values[own] for name, own in columns.items() if own is not None and own in values}
    return {**kept, **new}
