"""Reasoning: what a chat template does with it that rows do not show, told once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from rlhf.data.examples import Example
from rlhf.data.plain import common_length
from rlhf.data.template import Message, Template
from rlhf.data.turns import reasons, typed_texts
from rlhf.errors import DataError

_log = logging.getLogger(__name__)
_TAG = re.compile(r"</?\w*think\w*>|\[/?THINK\]", re.IGNORECASE)
_ANSWER = "\ufdd4"
"""A noncharacter in place of an answer."""
_USER: Message = {"role": "user", "content": "a"}
_PROBED = 4
"""Sets of template variables that are looked at."""


def tell_of_reasoning(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> None:
    """Warn of reasoning that a template writes by itself, or leaves out of the rows.

    Args:
        tokenizer: its chat template renders messages.
        examples: the rows; those of plain text are passed over.
    """
    if not tokenizer.chat_template:
        return
    chats = [example for example in examples if _is_chat(example)]
    different = {
        json.dumps(dict(e.options), sort_keys=True, default=str): e for e in reversed(chats)
    }
    for example in list(different.values())[-_PROBED:]:
        for line in _own_blocks(Template(tokenizer, example.options), chats):
            _log.warning("%s", line)
    _warn_of_lost(tokenizer, examples)


def _is_chat(example: Example) -> bool:
    return any(
        not isinstance(part, str | None) for part in (example.asked.prompt, *example.asked.answers)
    )


def _own_blocks(template: Template, chats: Sequence[Example]) -> Iterator[str]:
    """Yield what the template writes of reasoning before an answer that holds none."""
    try:
        asked = template.render([_USER], "generation")
        finished = template.render([_USER, {"role": "assistant", "content": _ANSWER}])
    except DataError:
        return
    opened = finished.partition(_ANSWER)[0]
    shared = common_length(asked, opened)
    prompt, row = _block(asked), _block(opened)
    if prompt and _TAG.search(asked[shared:]):
        yield (
            f"the chat template asks for an answer with {prompt!r}, but writes finished answers "
            f"{f'with {row!r}' if row else 'without it'}: what is learned is not what the model is "
            "asked to go on with"
        )
    elif prompt and shared == len(asked):
        rest = opened[shared:]
        goes_on = f"; answers without reasoning go on with {rest!r}, which is learned"
        yield (
            f"the chat template begins every answer with {prompt!r}: it is read, not learned"
            f"{goes_on if _TAG.search(rest) and any(map(_answers_alone, chats)) else ''}"
        )
    if _TAG.search(opened[shared:]) and not prompt and any(map(_answers_alone, chats)):
        yield (
            f"the chat template writes {row!r} before an answer without reasoning, as a rule the "
            "last of a conversation: it is learned"
        )


def _block(text: str) -> str:
    """Return a text from its first tag on, empty without one."""
    found = _TAG.search(text)
    return text[found.start() :] if found else ""


def _answers_alone(example: Example) -> bool:
    """Return whether an answer of a row holds no reasoning; a prompt has none to hold."""
    last = [answer[-1] for answer in example.asked.answers if not isinstance(answer, str)]
    return any(not reasons(message) for message in last)


def _warn_of_lost(tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example]) -> None:
    lost = [example.row.where for example in examples if _loses_reasoning(tokenizer, example)]
    if lost:
        _log.warning(
            "%d conversations hold reasoning that the chat template leaves out, the first at %s; "
            "it is not learned. Give the model a template that writes it",
            len(lost),
            lost[0],
        )


def _loses_reasoning(tokenizer: PreTrainedTokenizerBase, example: Example) -> bool:
    """Return whether words of an answer with reasoning are missing from its rendering."""
    asked = example.asked
    for answer in asked.answers:
        if isinstance(answer, str) or not any(map(reasons, answer)):
            continue
        template = Template(tokenizer, example.options)
        before = asked.prompt if isinstance(asked.prompt, list) else []
        if before and before[-1]["role"] == "assistant":
            continue  # an answer begun in the prompt
        said = template.guard(answer)
        text = template.render([*template.guard(before), *said])
        typed = (text for message in said if reasons(message) for text in typed_texts(message))
        if not all(word in text for words in typed for word in words.split()):
            return True
    return False
