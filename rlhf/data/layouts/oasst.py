"""OpenAssistant's trees of messages, whole or a message a row (Köpf et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from rlhf.data.layouts.layout import (
    Exchange,
    Kind,
    Layout,
    Values,
    assistant,
    need,
    number,
    told,
    user,
)
from rlhf.data.template import Message
from rlhf.errors import DataError


@dataclass(frozen=True, slots=True)
class _Tree:
    message: Values
    replies: list[_Tree]
    row: int


def _tree(rows: Sequence[Values], _: Kind) -> Iterable[Exchange]:
    """Read trees with `replies` inside one another; each row is one."""
    for row, values in enumerate(rows):
        root = values["prompt"]
        if not isinstance(root, dict):
            raise DataError("prompt must be an object: the tree's first message")
        yield from _below(_nested(cast("Values", root), row), [])


def _nested(message: Values, row: int) -> _Tree:
    replies = message.get("replies")
    listed = cast("list[object]", replies) if isinstance(replies, list) else []
    below = [_nested(cast("Values", reply), row) for reply in listed if isinstance(reply, dict)]
    return _Tree(message, below, row)


def _flat(rows: Sequence[Values], _: Kind) -> Iterable[Exchange]:
    """Read the messages of one tree, a row each, in any order."""
    replies: dict[str, list[int]] = {}
    known = {str(values["message_id"]) for values in rows}
    if len(known) < len(rows):
        raise DataError("message_id stands twice in one tree")
    for index, values in enumerate(rows):
        parent = str(values["parent_id"] or "")
        if parent and parent not in known:
            raise DataError(f"parent_id={parent[:80]}, and its tree has no such message")
        replies.setdefault(parent, []).append(index)
    if not replies.get(""):
        raise DataError("parent_id: no message of its tree is without one, so none comes first")
    for index in replies[""]:
        yield from _below(_linked(index, rows, replies), [])


def _linked(index: int, rows: Sequence[Values], replies: Mapping[str, Sequence[int]]) -> _Tree:
    below = replies.get(str(rows[index]["message_id"]), ())
    return _Tree(rows[index], [_linked(reply, rows, replies) for reply in below], index)


def _below(tree: _Tree, before: list[Message]) -> Iterator[Exchange]:
    """Yield an exchange for each message of a prompter, with the answers to it."""
    if _is_gone(tree.message):
        return
    text, asks = told(tree.message, "text"), _asks(tree.message)
    said = [*before, user(text) if asks else assistant(text)[0]]
    if asks:
        answers = [reply.message for reply in tree.replies]
        there = [reply for reply in answers if not _asks(reply) and not _is_gone(reply)]
        yield Exchange(said, tuple(_ranked(there)), row=tree.row)
    for reply in tree.replies:
        yield from _below(reply, said)


def _ranked(answers: Sequence[Values]) -> Iterator[tuple[float, list[Message]]]:
    """Yield answers by their rank, 0 the best; those without one are worst, and equal."""
    for values in answers:
        has_rank = values.get("rank") not in (None, "")
        yield (-number(values, "rank") if has_rank else -1e9), assistant(told(values, "text"))


def _asks(message: Values) -> bool:
    role = message.get("role")
    if role not in ("prompter", "assistant"):
        raise DataError(f"role={str(role)[:80]}; it must be prompter or assistant")
    return role == "prompter"


def _is_gone(message: Values) -> bool:
    return message.get("deleted") in (True, "True", "true")


LAYOUTS = (
    Layout(
        "oasst",
        (need("message_tree_id", "prompt"),),
        _tree,
        lambda values: isinstance(values["prompt"], dict),
    ),
    Layout(
        "oasst (a message a row)",
        (need("message_id", "parent_id", "text", "role"),),
        _flat,
        together=lambda values: values.get("message_tree_id"),
    ),
)
