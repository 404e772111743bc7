"""Encode: examples to ids, plain ones in one batch, and the rule for those that are too long."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.chat import encode_answer, encode_conversation, encode_prompt
from rlhf.data.examples import Example
from rlhf.data.plain import Learned, encode_pairs, glued, opening, special_pattern, tokenize
from rlhf.data.problems import Problems
from rlhf.data.reasoning import tell_of_reasoning
from rlhf.data.template import Text
from rlhf.errors import DataError

_log = logging.getLogger(__name__)
T = TypeVar("T")
_SHOWN = 12
"""Characters of a prompt and of an answer that a warning shows."""


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, drop: bool = False
) -> list[list[Learned]]:
    """Return each example's answers, every one with its prompt before it.

    Args:
        tokenizer: its chat template renders messages.
        examples: the rows.
        drop: a row that the chat template refuses has no answers, and is counted.

    Raises:
        DataError: listing the `file:line` of every row the chat template refuses.
    """
    pairs = [_pairs(example) for example in examples]
    flat = [pair for found in pairs for pair in found]
    warn_of_special_strings(tokenizer, [prompt + answer for prompt, answer in flat])
    joined = encode_pairs(tokenizer, flat)
    places = [e.row.where for e, found in zip(examples, pairs, strict=True) for _ in found]
    _warn_of_glue(flat, glued(tokenizer, flat, joined), places)
    plain = iter(joined)
    problems = Problems("the conversations", drop=drop)
    encoded: list[list[Learned]] = []
    for example, found in zip(examples, pairs, strict=True):
        try:
            encoded.append([next(plain) for _ in found] or _converse(tokenizer, example))
        except DataError as error:
            problems.add(example.row.where, error)
            encoded.append([])
    problems.check(len(examples) - len(problems))
    tell_of_reasoning(tokenizer, examples)
    return encoded


def _pairs(example: Example) -> list[tuple[str, str]]:
    """Return (prompt, answer) for each plain answer; none where they are messages."""
    prompt = example.asked.prompt or ""
    if not isinstance(prompt, str):
        return []
    return [(prompt, answer) for answer in example.asked.answers if isinstance(answer, str)]


def _converse(tokenizer: PreTrainedTokenizerBase, example: Example) -> list[Learned]:
    asked, options = example.asked, example.options
    if asked.prompt is not None:
        return [encode_answer(tokenizer, asked.prompt, a, options) for a in asked.answers]
    return [
        encode_conversation(tokenizer, answer, options)
        for answer in asked.answers
        if not isinstance(answer, str)
    ]


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], *, drop: bool = False
) -> list[list[int]]:
    """Return the ids of each example's prompt.

    Args:
        tokenizer: its chat template renders messages.
        examples: the rows.
        drop: a row that the chat template refuses has no ids, and is counted.

    Raises:
        DataError: listing the `file:line` of every row the chat template refuses.
    """
    texts = [e.asked.prompt for e in examples if isinstance(e.asked.prompt, str)]
    warn_of_special_strings(tokenizer, texts)
    start, plain = opening(tokenizer), iter(tokenize(tokenizer, texts))
    problems = Problems("the conversations", drop=drop)
    encoded: list[list[int]] = []
    for example in examples:
        prompt: Text = example.asked.prompt or ""
        try:
            ids = (
                [*start, *next(plain)]
                if isinstance(prompt, str)
                else encode_prompt(tokenizer, prompt, example.options)
            )
            encoded.append(ids)
        except DataError as error:
            problems.add(example.row.where, error)
            encoded.append([])
    problems.check(len(examples) - len(problems))
    tell_of_reasoning(tokenizer, examples)
    return encoded


def rendered(
    examples: Sequence[Example], encoded: Sequence[list[T]]
) -> tuple[list[Example], list[list[T]]]:
    """Return examples and what they were encoded to, without those that were refused."""
    kept = [pair for pair in zip(examples, encoded, strict=True) if pair[1]]
    return [example for example, _ in kept], [found for _, found in kept]


def _warn_of_glue(
    pairs: Sequence[tuple[str, str]], rows: Sequence[int], places: Sequence[str]
) -> None:
    if rows:
        prompt, answer = pairs[rows[0]]
        _log.warning(
            "%d of %d plain answers run into their prompts, the first at %s: %r and %r are read as "
            "%r. Begin answers with a space, and end no prompt with one",
            len(rows),
            len(pairs),
            places[rows[0]],
            prompt[-_SHOWN:],
            answer[:_SHOWN],
            prompt[-_SHOWN:] + answer[:_SHOWN],
        )


def warn_of_special_strings(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> None:
    """Count the plain texts that spell special tokens in a warning."""
    pattern, eos = special_pattern(tokenizer), str(tokenizer.eos_token)
    count = sum(pattern.search(text.removesuffix(eos)) is not None for text in texts)
    if count:
        _log.warning(
            "%d plain texts spell special tokens such as %r; they stay ordinary characters. "
            "If they hold rendered conversations, give those as messages",
            count,
            eos,
        )


def short_enough(
    examples: Sequence[Example], lengths: Sequence[int], limit: tuple[str, int], config: DataConfig
) -> list[int]:
    """Return the rows within a limit, by index.

    Args:
        examples: the rows.
        lengths: tokens of each, of its longest answer.
        limit: name of the setting and its value, in tokens.
        config: determines whether longer rows are an error or dropped.

    Raises:
        DataError: with data.overlong=error, listing every longer row; with drop, when none is left.
    """
    name, most = limit
    kept = [index for index, length in enumerate(lengths) if length <= most]
    dropped = len(lengths) - len(kept)
    if config.overlong == "error":
        problems = Problems(
            f"the lengths (data.{name}={most}; raise it, or set data.overlong=drop)"
        )
        for example, length in zip(examples, lengths, strict=True):
            if length > most:
                problems.add(example.row.where, f"{length} tokens, {most} allowed")
        problems.check()
    if not kept:
        raise DataError(f"all {dropped} rows are longer than data.{name}={most}; raise it")
    if dropped:
        _log.info("dropped %d of %d rows over data.%s=%d", dropped, len(lengths), name, most)
    return kept


def pad_rows(rows: Sequence[Sequence[int]], dtype: torch.dtype = torch.long) -> Tensor:
    """Return rows as one tensor (B, widest), zeros on the right; (0, 0) for no rows."""
    padded = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.tensor(row, dtype=dtype)
    return padded
