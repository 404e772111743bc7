"""Layout: one public form of data, how it is recognised, and what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from rlhf.data.columns import as_text
from rlhf.data.template import Message, Text
from rlhf.errors import DataError

Values = Mapping[str, object]
"""A row: column name to value."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt, and answers to it with how good each is."""

    prompt: Text
    answers: tuple[tuple[float, Text], ...] = ()
    """(how good, answer); equally good ones cannot be ranked."""
    conversation: list[Message] = field(default_factory=list[Message])
    """For demonstrations: the whole, where each of its assistant turns is to be learned."""
    row: int = 0
    """Which of the rows that were read together has the prompt."""


Kind = Literal["demonstrations", "preferences", "prompts"]
Read = Callable[[Sequence[Values], Kind], Iterable[Exchange]]
"""Understands rows that belong together, for a kind of data; a DataError names the column."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One form of data. To add one, add a record to the list of its module."""

    name: str
    """As users know it; told when it is recognised."""
    columns: tuple[frozenset[str], ...]
    """Sets of columns, one of which a row of this layout has, beside any others."""
    read: Read
    """What rows mean."""
    holds: Callable[[Values], bool] = lambda _: True
    """Whether the values are of this layout, where columns alone do not tell."""
    together: Callable[[Values], object] | None = None
    """What rows that belong together have in common; by default each row stands alone."""
    note: str = ""
    """Told where its rows are demonstrations."""


def by_row(read: Callable[[Values], Exchange]) -> Read:
    """Return how rows are read that stand alone."""
    return lambda rows, _: [read(values) for values in rows]


def need(*columns: str) -> frozenset[str]:
    """Return a set of columns."""
    return frozenset(columns)


def user(text: str) -> Message:
    """Return a user's message."""
    return {"role": "user", "content": text}


def assistant(text: str) -> list[Message]:
    """Return an answer: one message of the assistant."""
    return [{"role": "assistant", "content": text}]


def told(values: Values, column: str) -> str:
    """Return a column's text.

    Raises:
        DataError: when it is empty, or is no text.
    """
    text = as_text(values.get(column) or "", column)
    if not isinstance(text, str):
        raise DataError(f"{column} is a list of messages; it must be text")
    return text


def optional(values: Values, column: str) -> str:
    """Return a column's text, empty where there is none.

    Raises:
        DataError: when it is no text.
    """
    return told(values, column) if values.get(column) not in (None, "") else ""


def number(values: Values, column: str) -> float:
    """Return a column's number, which a table may hold as text.

    Raises:
        DataError: when it is none.
    """
    value = values.get(column)
    try:
        found = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        found = float("nan")
    if found != found or abs(found) == float("inf"):
        raise DataError(f"{column}={str(value)[:80]}; it must be a finite number")
    return found


def one_of(values: Values, column: str, legal: Sequence[int]) -> int:
    """Return a column's number, one of the legal ones.

    Raises:
        DataError: when it is another.
    """
    found = number(values, column)
    if found not in legal:
        listed = ", ".join(map(str, legal))
        raise DataError(f"{column}={str(values.get(column))[:80]}; it must be one of {listed}")
    return int(found)


def entries(values: Values, column: str) -> list[Values]:
    """Return a column's objects; `datasets` may keep a list of objects as an object of lists.

    Raises:
        DataError: when they are none.
    """
    value = values.get(column)
    if isinstance(value, dict):
        lists = cast("dict[str, Any]", value)
        if all(isinstance(entry, list) for entry in lists.values()):
            value = [
                dict(zip(lists, row, strict=False)) for row in zip(*lists.values(), strict=False)
            ]
    listed = cast("list[object]", value) if isinstance(value, list) else []
    if not listed or not all(isinstance(entry, dict) for entry in listed):
        raise DataError(f"{column} must be a list of objects, at least one")
    return cast("list[Values]", listed)


def named(found: Values, column: str, name: str) -> str:
    """Return the text of an object inside a column; `name` is the whole path, for errors.

    Raises:
        DataError: when it is empty, or is no text.
    """
    return told({name: found.get(column)}, name)


def pair(better: Text, worse: Text) -> tuple[tuple[float, Text], ...]:
    """Return two answers, the better one first."""
    return ((1.0, better), (0.0, worse))


def parted(chosen: list[Message], rejected: list[Message]) -> Exchange:
    """Return two whole conversations as the prompt they share, and what follows it.

    Raises:
        DataError: when they share none, or one has no answer of its own.
    """
    if chosen == rejected:
        raise DataError("chosen equals rejected; equal answers cannot be ranked")
    shortest = min(len(chosen), len(rejected))
    at = next((i for i in range(shortest) if chosen[i] != rejected[i]), shortest)
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        if not turns[at:] or turns[-1]["role"] != "assistant":
            raise DataError(f"{name} is empty: its conversation ends without an answer")
    if not at or any(turns[at]["role"] != "assistant" for turns in (chosen, rejected)):
        raise DataError("chosen and rejected part before an answer, so they share no prompt")
    return Exchange(chosen[:at], pair(chosen[at:], rejected[at:]))
