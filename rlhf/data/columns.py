"""Columns: the kind of a row by its columns, in TRL's names, and checks of their values."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rlhf.data.template import Message, Options, Text
from rlhf.errors import DataError

Columns = tuple[str, ...]
_SYSTEM = ("system", "system_prompt")
_BEFORE = (*_SYSTEM, "history", "context", "input")
_ASKED = (
    *("question", "query", "instruction", "instructions", "inputs", "problem", "user", "human"),
    *("document", "passage", "article", "conversation", "conversations", "dialogue", *_BEFORE),
)
_ANSWERED = ("completion", "response", "answer", "output", "summary", "target", "chosen")
_OTHER_NAMES: Mapping[str, Columns] = {
    "prompt": (*_ASKED[:8], "request", "subject", "title", "article", "document", "input"),
    "completion": (*_ANSWERED[1:6], "reply", "solution", "resolution"),
    "text": ("content", "body", "document", "article"),
    "chosen": ("preferred", "better", "accepted", "good"),
    "rejected": ("dispreferred", "worse", "bad"),
    "messages": ("conversation", "dialogue", "turns"),
}
"""What columns are called elsewhere, the likeliest first."""
# What would be missed where rows are read by these columns, for want of a place for it.
_MISSED: Mapping[str, Columns] = {"text": _ANSWERED, "messages": _SYSTEM, "prompt": _BEFORE}


def fitting(values: Mapping[str, object], legal: Sequence[Columns]) -> Columns | None:
    """Return the first legal set of columns that the row has values in, if any."""
    for columns in legal:
        for name in columns:
            if values.get(name) is None:
                break
        else:
            return columns
    return None


def blank(values: Mapping[str, object], legal: Sequence[Columns]) -> str:
    """Return which columns a row has without a value, where it would fit with one; else nothing."""
    without = [
        [name for name in columns if values[name] is None]
        for columns in legal
        if all(name in values for name in columns)
    ]
    names = min(without, key=len, default=[])
    if len(names) > 1:
        return f"{', '.join(names[:-1])} and {names[-1]} are empty"
    return f"{names[0]} is empty" if names else ""


def present(values: Mapping[str, object]) -> frozenset[str]:
    """Return the columns that have a value; tables have null where a row has none."""
    return frozenset(name for name, value in values.items() if value is not None)


def misfit(found: frozenset[str], legal: Sequence[Columns]) -> str:
    """Return why columns fit no format: those found, the legal sets and the nearest of them."""
    shown = sorted(name[:40] for name in found)[:20]
    nearest = max(legal, key=lambda columns: _difference(shown, columns))
    likely = remedy(found, legal)
    if likely:
        nearest = next(columns for columns in legal if _likely(found, columns))
    missing = ", ".join(name for name in nearest if name not in found)
    more = f" and {len(found) - len(shown)} more" if len(found) > len(shown) else ""
    return (
        f"columns {', '.join(shown) or '(none)'}{more} fit no format; "
        f"legal: {' | '.join(' + '.join(columns) for columns in legal)}; "
        f"nearest: {' + '.join(nearest)} (missing: {missing}); "
        "data.columns says which column is which" + (f", such as {likely}" if likely else "")
    )


def remedy(found: frozenset[str], legal: Sequence[Columns]) -> str:
    """Return the data.columns, as typed, by which columns fit a format; nothing for none."""
    named = next((names for columns in legal if (names := _likely(found, columns))), {})
    entries = ", ".join(f"{name}: {own}" for name, own in named.items())
    return f"'data.columns={{{entries}}}'" if entries else ""


def _likely(found: frozenset[str], columns: Columns) -> dict[str, str]:
    """Return a column of the file for each that is missing, by its usual other names."""
    by_letters = {name.lower().strip(): name for name in sorted(found, reverse=True)}
    named: dict[str, str] = {}
    for column in columns:
        if column not in found:
            own = next((by_letters[n] for n in _OTHER_NAMES.get(column, ()) if n in by_letters), "")
            if not own or not own.replace("_", "a").replace(" ", "a").isalnum():
                return {}
            named[column] = own
    return named


def missed(values: Mapping[str, object], columns: Columns) -> str:
    """Return why a row cannot do without a column that is not read, empty where it can."""
    names = _MISSED.get(columns[0], _ASKED)
    found = [
        name for name in names if values.get(name) not in (None, "", []) and name not in columns
    ]
    if not found:
        return ""
    own, first = " + ".join(columns), found[0]
    place = "completion" if columns == ("text",) else "prompt"
    remedy = (
        f"write it into the {columns[0]}"
        if "prompt" in columns or columns == ("messages",)
        else f"say data.columns={{{place}: {first}}}"
        if place == "prompt"
        else f"say data.columns={{prompt: text, completion: {first}}}"
    )
    return (
        f"{first} would not be read beside {own}; {remedy}, or data.columns={{{first}: null}} to "
        "do without it"
    )


def _difference(found: Sequence[str], columns: Columns) -> float:
    best = [
        max((difflib.SequenceMatcher(None, name, other).ratio() for other in found), default=0.0)
        for name in columns
    ]
    return sum(best) / len(best)


def text_of(values: Mapping[str, object], column: str) -> Text:
    """Return one column as text or as messages.

    Raises:
        DataError: when it is neither, or is empty.
    """
    return as_text(values[column], column)


def as_text(value: object, column: str) -> Text:
    """Return a value as text or as messages; `column` names it in errors.

    Raises:
        DataError: when it is neither, or is empty.
    """
    if isinstance(value, str):
        if not value.strip():
            raise DataError(f"{column} is empty")
        return value
    if isinstance(value, list):
        return _messages(cast("list[object]", value), column)
    kind = type(value).__name__
    raise DataError(f"{column} is of type {kind}; it must be text or a list of messages")


def same_kind(texts: Mapping[str, Text]) -> None:
    """Check that all named values are texts, or all are messages.

    Raises:
        DataError: when they are mixed.
    """
    if len({type(text) for text in texts.values()}) > 1:
        kinds = {name: "text" if isinstance(t, str) else "messages" for name, t in texts.items()}
        listed = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise DataError(f"{listed}; all must be text, or all messages")


def spoken(answer: Text, column: str) -> Text:
    """Return an answer, checked to be one: not empty, and with the role assistant.

    Raises:
        DataError: when it is not.
    """
    if isinstance(answer, str):
        return answer
    if answer[0]["role"] != "assistant":
        raise DataError(
            f"{column} starts with role {answer[0]['role']}; it holds the assistant's turns only "
            "(whole conversations go without a prompt column)"
        )
    last = answer[-1]
    content = last.get("content")
    if last["role"] != "assistant":
        raise DataError(f"{column} ends with role {last['role']}; it must end with assistant")
    if not (content.strip() if isinstance(content, str) else content) and len(last) < 3:
        raise DataError(f"{column} is empty")
    return answer


def options_of(values: Mapping[str, object]) -> Options:
    """Return what a row gives its chat template: `tools`, and each of `chat_template_kwargs`.

    Both may be JSON in a string.

    Raises:
        DataError: when `tools` is not a list, or `chat_template_kwargs` not an object.
    """
    if "tools" not in values and "chat_template_kwargs" not in values:
        return {}
    tools = _unjson(values.get("tools"), "tools", list)
    variables = _unjson(values.get("chat_template_kwargs"), "chat_template_kwargs", dict)
    options = cast("dict[str, object]", _without_nulls(variables or {}))
    return {**options, "tools": _without_nulls(tools)} if tools else options


def _unjson(value: object, column: str, kind: type) -> object:
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"{column} is text but not JSON: {error}") from error
    if value is None or value == "":
        return None
    if not isinstance(value, kind):
        name = type(value).__name__
        raise DataError(f"{column} is of type {name}; it must be a {kind.__name__}")
    return value


def _messages(values: list[object], column: str) -> list[Message]:
    if not values:
        raise DataError(f"{column} is empty")
    return [_message(value, column, number) for number, value in enumerate(values)]


def _message(value: object, column: str, number: int) -> Message:
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise DataError(
            f'{column}[{number}] is of type {kind}; a message is {{"role": ..., "content": ...}}'
        )
    entries = cast("dict[str, Any]", value)
    plain = all(isinstance(entry, str) for entry in entries.values())
    message = entries if plain else cast("dict[str, Any]", _without_nulls(entries))
    if not isinstance(message.get("role"), str):
        keys = ", ".join(sorted(message))
        raise DataError(
            f'{column}[{number}] has keys {keys}; a message is {{"role": ..., "content": ...}}'
        )
    content = message.get("content")
    said_otherwise = content is None and len(message) > 1
    if not isinstance(content, str | list) and not said_otherwise:
        raise DataError(f"{column}[{number}] has no content; it must be text or a list of parts")
    return message


def _without_nulls(value: object) -> object:
    """Drop null entries of objects at any depth: tables add them where a row has no such key."""
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return {k: _without_nulls(entry) for k, entry in entries.items() if entry is not None}
    if isinstance(value, list):
        return [_without_nulls(entry) for entry in cast("list[object]", value)]
    return value
