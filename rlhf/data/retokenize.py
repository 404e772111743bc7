"""Retokenize: the policy's responses become a reward model's input, in the form of its training.

A finished exchange is the row that prompt and answer make in training: whatever the template writes
behind an answer stands behind a response too, and the score is read at its end. An unfinished one
is what was written so far: the prompt as the policy got it, then the response, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from transformers import PreTrainedTokenizerBase

from rlhf.data.chat import decode_response, encode_answer, encode_ending, encode_prompt
from rlhf.data.template import Options, Text
from rlhf.data.turns import like


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenExchange:
    """A prompt, and the policy's response."""

    prompt: Text
    """As the user wrote it."""
    prompt_ids: Sequence[int]
    response_ids: Sequence[int]
    """With the token that ended it, where it is finished."""
    finished: bool
    """Whether the response ended by itself."""
    options: Options
    """`tools` and template variables of the row, for messages."""


def read_exchange(
    reader: PreTrainedTokenizerBase,
    writer: PreTrainedTokenizerBase | None,
    written: WrittenExchange,
) -> list[int]:
    """Return the ids a reward model reads.

    Where both have the same tokens, they stay as the policy drew them, and what the template writes
    behind an answer takes the place of the token that ended the response. Where that is not what
    the template makes of the response (it writes an empty thinking block before it, say, or leaves
    its reasoning out), or the tokens differ, the text is encoded as in training.

    Args:
        reader: the reward model's tokenizer.
        writer: the policy's, where that is another; None where both have the same tokens.
        written: the prompt and the response.

    Raises:
        DataError: when the reward model's chat template refuses the prompt.
    """
    prompt, options, finished = written.prompt, written.options, written.finished
    said = list(written.response_ids)[: -1 if finished else None]
    if writer is not None:
        return encode_exchange(reader, prompt, _text(writer, written, said), finished, options)
    drawn = [*written.prompt_ids, *said]
    if finished:
        drawn += encode_ending(reader, prompt, options)
    text = decode_response(reader, said)
    is_text = (
        _shown(reader, said) == text and "\ufffd" not in text
    )  # no special token, no half letter
    if not finished or isinstance(prompt, str) or not is_text:
        return drawn
    trained = encode_exchange(reader, prompt, text, finished, options)
    return drawn if _shown(reader, drawn) == _shown(reader, trained) else trained


def encode_exchange(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    response: str,
    finished: bool,  # noqa: FBT001 - a fact of the response, not a switch
    options: Options | None = None,
) -> list[int]:
    """Return the ids of prompt and response as the reward model met them in its training.

    Args:
        tokenizer: the reward model's; its BOS and its chat template count.
        prompt: as the user gave it.
        response: the policy's text, without special tokens; may be empty.
        finished: whether the response ended by itself; only then do the ids end with EOS.
        options: `tools` and template variables of the row, for messages.

    Raises:
        DataError: when the prompt is messages and the tokenizer has no chat template, or that
            refuses them.
    """
    if not finished:
        return encode_prompt(tokenizer, prompt, options, then=response)
    if not response.strip():
        ids = encode_prompt(tokenizer, prompt, options)
        return [*ids, *encode_ending(tokenizer, prompt, options)]
    if isinstance(prompt, str):
        return encode_answer(tokenizer, prompt, response)[0]
    answer = [like(prompt[-1], "assistant", response)]  # a template may render only lists of parts
    return encode_answer(tokenizer, prompt, answer, options)[0]


def _text(writer: PreTrainedTokenizerBase, written: WrittenExchange, said: list[int]) -> str:
    """Return a response as text; after a plain prompt with the space between the two."""
    alone = decode_response(writer, said)
    if not isinstance(written.prompt, str):
        return alone
    # Many tokenizers drop the space before a text's first word, so the first word is the prompt's.
    context = list(written.prompt_ids)[-1:]
    before, both = decode_response(writer, context), decode_response(writer, [*context, *said])
    return both.removeprefix(before) if both.startswith(before) else alone


def _shown(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    return cast("str", tokenizer.decode(ids, clean_up_tokenization_spaces=False))
