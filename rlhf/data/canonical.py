"""Canonical prompts: one string for one prompt, whichever form a row gives it in.

The side of a row hangs on it, so a prompt that is held out as text is held out of conversations
that begin with it, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, cast

from rlhf.data.template import Message, Text

DIALOGUE = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \n]?")
"""Who speaks, in a conversation written as text (Bai et al. 2022)."""
_LONGEST_CUE = 40
"""Characters of a last line such as `A:`, `TL;DR:` or `### Response:`."""


def key_of(prompt: Text) -> str:
    """Return what a row's side hangs on: what the user says first.

    Not read are a system message, what follows the first answer (each turn of a conversation is
    learned, so all that begin alike belong on one side), white space, and a last line that asks
    for the answer. A line of plain text without double spaces is its own key.
    """
    if isinstance(prompt, str):
        return " ".join(_without_cue(_first_said(prompt).strip()).split())
    asked = next((m for m in prompt if m.get("role") == "user"), None)
    said = _content(asked) if asked else ""
    return key_of(said) if said.strip() else _whole(prompt)


def _first_said(text: str) -> str:
    """Return what the human says first of a dialogue written as text; else the text."""
    parts = DIALOGUE.split(text) if text.lstrip().startswith("Human:") else []
    if parts[1:2] != ["Human"] or parts[0].strip():
        return text
    return parts[2] if parts[2].strip() else text


def _without_cue(text: str) -> str:
    """Return a text without a last line that asks for the answer and is no part of the question."""
    rest, _, last = text.rpartition("\n")
    return rest if last.endswith(":") and len(last) <= _LONGEST_CUE and rest.strip() else text


def _content(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    if all(isinstance(text, str) for text in texts):
        return "\n".join(cast("list[str]", texts))
    return json.dumps(parts, sort_keys=True, default=str)  # images and the like count, too


def _whole(messages: Sequence[Message]) -> str:
    return json.dumps(messages, sort_keys=True, default=str)
