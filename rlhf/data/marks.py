"""Marks: a chat template that shows which text each message became.

Templates go through the messages in a loop. The marked template writes, at every turn of every
loop, which message it is at, and where the loop ends; taken out again, the marks leave spans.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Any

Span = tuple[int, int]
"""(start, end) in characters of a rendered conversation."""

_KEY = "rlhf_mark"
# A comment, or a tag: what it does, to which name, with what, and how it treats white space.
_TAG = re.compile(
    r"\{#.*?#\}|\{%[-+]?\s*(?:(for|set)\s+(\w+)\s*(?:in\b|=)(.*?)|(for|endfor)\b.*?)([-+]?)%\}",
    re.DOTALL,
)
# Noncharacters around `LOOP,MESSAGE`; without a message, the end of a loop.
_MARK = re.compile("\ufdd2(\\d+),(\\d*)\ufdd3")


@lru_cache(maxsize=32)
def marked(source: str) -> str:
    """Return a chat template's source with marks at its loops; its text is the same otherwise.

    A loop over numbers (`range`) is at the message that it gives a name: `set x = messages[i]`. It
    is at no other that it reads besides, such as `messages[i - 1]`.
    """
    loops: list[tuple[int, str]] = []  # its number, and what it calls a number that it goes over
    numbers = count()

    def mark(tag: re.Match[str]) -> str:
        names, name, values, bare, space = tag.groups()
        if names == "for" or bare == "for":
            loops.append((next(numbers), name if "range(" in (values or "") else ""))
        if not loops or not (names or bare == "endfor"):
            return tag.group()
        number, counter = loops.pop() if bare else loops[-1]
        if names and (counter if names == "for" else not _is_at(counter, values)):
            return tag.group()
        told = f"{name} is mapping and {name}.{_KEY} is defined"
        test, shown = (told, f"{name}.{_KEY}") if names else ("true", "''")
        written = f"{{{{ '\ufdd2{number},' ~ {shown} ~ '\ufdd3' }}}}"
        return f"{tag.group()}{{% if {test} %}}{written}{{% endif {space}%}}"

    return _TAG.sub(mark, source)


def _is_at(counter: str, value: str) -> bool:
    """Return whether a value is the message that a loop over numbers is at."""
    index = rf"{counter}|loop\.index0"
    return bool(counter) and re.fullmatch(rf"\s*\w+\[\s*(?:{index})\s*\]\s*", value) is not None


def numbered(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the messages as a marked template needs them."""
    return [{**message, _KEY: str(index)} for index, message in enumerate(messages)]


def unmarked(text: str) -> tuple[str, dict[int, Span]]:
    """Return a text without its marks, and each message's text in it: its longest stretch.

    A stretch ends where another message begins, even inside the same pass of the loop.
    """
    chunks = _MARK.split(text)
    spans: dict[int, Span] = {}
    here: list[tuple[int, int]] = []  # loop and message, the innermost last
    at = len(chunks[0])
    for loop, message, chunk in zip(chunks[1::3], chunks[2::3], chunks[3::3], strict=True):
        while any(number == int(loop) for number, _ in here):
            here.pop()
        if message:
            here.append((int(loop), int(message)))
        if here:
            stretch = (at, at + len(chunk))
            known = spans.get(here[-1][1], stretch)
            joined = (known[0], stretch[1]) if known[1] == at else stretch
            spans[here[-1][1]] = max(known, joined, key=lambda span: (span[1] - span[0], span[1]))
        at += len(chunk)
    return "".join(chunks[::3]), spans
