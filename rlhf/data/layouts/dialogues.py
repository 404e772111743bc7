"""Dialogues written as text, `Human:` and `Assistant:` by turns: HH-RLHF and Nectar; and back."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.data.canonical import DIALOGUE
from rlhf.data.layouts.layout import (
    Exchange,
    Layout,
    Values,
    assistant,
    by_row,
    entries,
    named,
    need,
    number,
    parted,
    told,
    user,
)
from rlhf.data.template import Message
from rlhf.errors import DataError

_ROLES = {"Human": "user", "Assistant": "assistant"}
_NAMES = {role: name for name, role in _ROLES.items()}


def is_dialogue(value: object) -> bool:
    """Return whether a value is a dialogue written as text."""
    return (
        isinstance(value, str)
        and value.lstrip("\n").startswith("Human:")
        and "\n\nAssistant:" in value
    )


def spoken_turns(text: str, column: str) -> list[Message]:
    """Return a dialogue as messages; one that ends with `Assistant:` asks for an answer.

    Raises:
        DataError: when it is none.
    """
    before, *turns = DIALOGUE.split(text)
    if before.strip() or not turns:
        raise DataError(f'{column} is no dialogue: it must begin with "\\n\\nHuman:"')
    said = zip(turns[::2], turns[1::2], strict=True)
    messages: list[Message] = [{"role": _ROLES[name], "content": words} for name, words in said]
    asks = messages[-1]["role"] == "assistant" and not messages[-1]["content"].strip()
    return messages[:-1] if asks else messages


def as_dialogue(messages: Sequence[Message]) -> str:
    """Return messages as a dialogue written as text, for tokenizers without a chat template."""
    turns = (
        f"\n\n{_NAMES.get(m['role'], str(m['role']).capitalize())}: {m['content']}"
        for m in messages
    )
    return "".join(turns)


def _hh_rlhf(values: Values) -> Exchange:
    """Bai et al. 2022: both columns are whole dialogues, which part at an answer."""
    chosen, rejected = (spoken_turns(told(values, name), name) for name in ("chosen", "rejected"))
    return parted(chosen, rejected)


def _nectar(values: Values) -> Exchange:
    """Zhu et al. 2023: seven answers, ranked from 1, the best."""
    prompt = told(values, "prompt")
    asked = spoken_turns(prompt, "prompt") if is_dialogue(prompt) else [user(prompt)]
    answers = [
        (-number(entry, "rank"), assistant(named(entry, "answer", f"answers[{k}].answer")))
        for k, entry in enumerate(entries(values, "answers"))
    ]
    return Exchange(asked, tuple(answers))


def _is_ranked(values: Values) -> bool:
    try:
        return all(entry.keys() >= {"answer", "rank"} for entry in entries(values, "answers"))
    except DataError:
        return False


LAYOUTS = (
    Layout(
        "HH-RLHF",
        (need("chosen", "rejected"),),
        by_row(_hh_rlhf),
        lambda values: (
            not values.get("prompt")
            and is_dialogue(values["chosen"])
            and is_dialogue(values["rejected"])
        ),
    ),
    Layout("Nectar", (need("prompt", "answers"),), by_row(_nectar), _is_ranked),
)
