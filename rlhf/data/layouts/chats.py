"""Instructions and conversations without a ranking: Alpaca and ShareGPT."""

from __future__ import annotations

import json
from typing import Any, cast

from rlhf.data.layouts.layout import (
    Exchange,
    Layout,
    Values,
    assistant,
    by_row,
    entries,
    need,
    optional,
    pair,
    told,
    user,
)
from rlhf.data.template import Message
from rlhf.errors import DataError

_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard", "model"), "assistant"),
    **dict.fromkeys(("tool", "observation", "function", "function_response"), "tool"),
    "system": "system",
}


def _alpaca(values: Values) -> Exchange:
    """Taori et al. 2023: an instruction, at times with an input, and the output."""
    asked = "\n\n".join(
        text for text in (told(values, "instruction"), optional(values, "input")) if text
    )
    system = optional(values, "system")
    before: list[Message] = [{"role": "system", "content": system}] if system else []
    prompt = [*before, *_history(values.get("history")), user(asked)]
    if "output" not in values:
        answers = [assistant(told(values, name)) for name in ("chosen", "rejected")]
        return Exchange(prompt, pair(*answers))
    return Exchange(prompt, ((0.0, assistant(told(values, "output"))),))


def _history(value: object) -> list[Message]:
    """Return earlier turns: a list of [question, answer]."""
    turns: list[Message] = []
    listed = cast("list[Any]", value or [])
    if not isinstance(value or [], list) or not all(map(_is_turn, listed)):
        raise DataError("history must be a list of [question, answer]")
    for question, answer in listed:
        turns += [user(question), *assistant(answer)]
    return turns


def _is_turn(turn: object) -> bool:
    return isinstance(turn, list) and [type(text) for text in cast("list[Any]", turn)] == [str, str]


def _sharegpt(values: Values) -> Exchange:
    """The export of shared chats: `from` says who speaks, `value` what."""
    turns = [_turn(turn, f"conversations[{k}]") for k, turn in enumerate(_turns(values))]
    system = optional(values, "system")
    if system and turns[0]["role"] != "system":
        turns = [{"role": "system", "content": system}, *turns]
    if "chosen" in values:
        answers = [[_turn(cast("Values", values[n]), n)] for n in ("chosen", "rejected")]
        return Exchange(turns, pair(*answers))
    answered = [k for k, turn in enumerate(turns) if turn["role"] == "assistant"]
    if not answered:
        raise DataError("conversations holds no turn of the assistant")
    last = answered[-1]
    return Exchange(turns[:last], ((0.0, turns[last : last + 1]),), conversation=turns)


def _turns(values: Values) -> list[Values]:
    value = values["conversations"]
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise DataError(f"conversations is text but not JSON: {error}") from error
    return entries({"conversations": value}, "conversations")


def _turn(turn: Values, name: str) -> Message:
    if not isinstance(turn, dict):
        raise DataError(f'{name} must be {{"from": ..., "value": ...}}')
    said = {**turn}
    role = said.pop("from", None) or said.pop("role", None)
    known = _ROLES.get(role.lower()) if isinstance(role, str) else None
    if known is None:
        legal = ", ".join(_ROLES)
        raise DataError(f"{name}.from={str(role)[:80]} is nobody known; legal: {legal}")
    said.pop("role", None)
    text = said.pop("value", None)
    content = said.pop("content", None) if text is None else text
    if not isinstance(content, str | list) or not content:
        raise DataError(f"{name}.value is empty, or no text")
    return {"role": known, "content": content, **_of_messages(said)}


def _of_messages(said: dict[str, Any]) -> dict[str, Any]:
    """Return what of a turn a chat template may read, beside role and content."""
    names = ("tool_calls", "reasoning_content", "name", "tool_call_id")
    return {name: said[name] for name in names if said.get(name) is not None}


LAYOUTS = (
    Layout(
        "Alpaca",
        (need("instruction", "output"), need("instruction", "input", "chosen", "rejected")),
        by_row(_alpaca),
    ),
    Layout("ShareGPT", (need("conversations"),), by_row(_sharegpt)),
)
