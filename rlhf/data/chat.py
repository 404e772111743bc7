"""Chat: one row's text or messages become token ids, and ids become text again.

A plain text is BOS (if the tokenizer adds one) + text + EOS. Messages go through the tokenizer's
chat template. No string a user typed becomes a special token in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from rlhf.data.plain import Learned, closing, encode_pairs, opening, tokenize
from rlhf.data.template import Message, Options, Template, Text
from rlhf.data.turns import encode_turns, ending
from rlhf.errors import DataError


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    options: Options | None = None,
    *,
    then: str = "",
) -> list[int]:
    """Return the ids a response follows.

    Messages that end with user or tool get the header of an answer; those that end with assistant
    are left open, to be continued.

    Args:
        tokenizer: its BOS and chat template count.
        prompt: text or messages.
        options: `tools` and template variables, for messages.
        then: what was generated so far of the response.

    Raises:
        DataError: when the messages cannot be rendered; the caller adds `file:line`.
    """
    if isinstance(prompt, str):
        return [*opening(tokenizer), *tokenize(tokenizer, [prompt + then])[0]]
    template = Template(tokenizer, options)
    return template.ids(_open(template, template.guard(prompt)) + template.guarded(then))


def encode_ending(
    tokenizer: PreTrainedTokenizerBase, prompt: Text, options: Options | None = None
) -> list[int]:
    """Return the ids that follow an answer to this prompt: its end of turn, and EOS.

    Raises:
        DataError: when the messages cannot be rendered.
    """
    if isinstance(prompt, str):
        return [closing(tokenizer)]
    template = Template(tokenizer, options)
    return ending(template, template.guard(prompt))


def encode_answer(
    tokenizer: PreTrainedTokenizerBase, prompt: Text, answer: Text, options: Options | None = None
) -> Learned:
    """Return the ids of prompt + answer + EOS, and the mask of what is learned: answer and EOS.

    Both are texts, or both are messages; an answer to a prompt that ends with an assistant message
    goes on with that message.

    Raises:
        DataError: when they are of different kinds, or cannot be rendered.
    """
    if isinstance(prompt, str) and isinstance(answer, str):
        return encode_pairs(tokenizer, [(prompt, answer)])[0]
    if isinstance(prompt, str) or isinstance(answer, str):
        raise DataError("prompt and answer must both be text, or both be messages")
    template = Template(tokenizer, options)
    asked, said = template.guard(prompt), template.guard(answer)
    if asked[-1]["role"] == said[0]["role"] == "assistant":
        joined = [*asked[:-1], continued(asked[-1], said[0]), *said[1:]]
        return encode_turns(template, joined, len(asked) - 1, before=_open(template, asked))
    return encode_turns(template, [*asked, *said], len(asked))


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Learned:
    """Return the ids of text + EOS; all are learned but BOS (or, without one, the first)."""
    return encode_pairs(tokenizer, [("", text)])[0]


def encode_conversation(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Message],
    options: Options | None = None,
) -> Learned:
    """Return the ids of a conversation; every assistant turn and its end-of-turn token is learned.

    Raises:
        DataError: when there is no assistant turn, or the template does not show where one is.
    """
    template = Template(tokenizer, options)
    return encode_turns(template, template.guard(messages))


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Return the text of response ids without special tokens."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return cast("str", text)


def continued(message: Message, more: Message) -> Message:
    """Return the assistant message that `more` goes on with.

    Raises:
        DataError: when one ends, or the other begins, with what is no text.
    """
    try:
        content = _joined(message.get("content"), more.get("content"))
    except (LookupError, TypeError) as error:
        raise DataError(
            "an assistant message can only be continued when its content is text"
        ) from error
    return {**message, **more, "content": content}


def _joined(head: Any, tail: Any) -> object:
    """Return two contents as one: texts, or lists of parts that meet at parts of text."""
    if isinstance(head, str) and isinstance(tail, str):
        return head + tail
    parts, more = cast("list[dict[str, Any]]", head), cast("list[dict[str, Any]]", tail)
    border = {**parts[-1], "text": parts[-1]["text"] + more[0]["text"]}
    return [*parts[:-1], border, *more[1:]]


def _open(template: Template, messages: list[Message]) -> str:
    """Render a prompt so that an answer can follow."""
    role = messages[-1]["role"]
    if role not in ("user", "tool", "assistant"):
        raise DataError(f"the prompt ends with role {role}; it must be user, tool or assistant")
    return template.render(messages, "continuation" if role == "assistant" else "generation")
