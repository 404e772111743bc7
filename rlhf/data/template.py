"""Template: one tokenizer's chat template with a row's options, and a guard for what users type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rlhf.data.marks import Span, marked, numbered, unmarked
from rlhf.data.plain import special_pattern, special_strings, tokenize
from rlhf.errors import DataError

Message = dict[str, Any]
Text = str | list[Message]
"""What a row may hold as prompt or answer: a text, or messages."""
Options = Mapping[str, object]
"""Keyword arguments of a row for apply_chat_template: `tools` and its `chat_template_kwargs`."""

Told = tuple[str, dict[int, Span]]
"""A rendered conversation, and what of it each message wrote, by index."""

# Errors of a template: raised on purpose, or over messages it was not made for.
_REFUSALS = (
    *(TemplateError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RecursionError),
)
# Two Unicode noncharacters, never used in text, around the number of a special token.
_STAND_IN = re.compile("\ufdd0(\\d+)\ufdd1")
_ESCAPED = re.compile(r"\\ufdd0(\d+)\\ufdd1")
_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDD5)))
"""What this room marks places in a text with; a user's own are stood in for, too."""


class Template:
    """Renders messages and turns the rendered text into ids."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, options: Options | None = None) -> None:
        """Bind a tokenizer.

        Raises:
            DataError: when it has no chat template.
        """
        if not tokenizer.chat_template:
            raise DataError(
                "messages need a chat template, and the tokenizer has none; "
                "use a model with one, or write prompt and answer as plain text"
            )
        self.tokenizer = tokenizer
        self.specials = special_strings(tokenizer)
        """Spellings of all special tokens, longest first."""
        self._typed = [*self.specials, *_NONCHARACTERS]
        noncharacters = f"[{_NONCHARACTERS[0]}-{_NONCHARACTERS[-1]}]"
        self._pattern = re.compile(f"{special_pattern(tokenizer).pattern}|{noncharacters}")
        self._options = cast("dict[str, object]", self._guarded(dict(options or {})))

    def guard(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages with special tokens that users typed replaced by stand-ins."""
        return [
            {k: v if self._is_name(k, v) else self._guarded(v) for k, v in message.items()}
            for message in messages
        ]

    def guarded(self, text: str) -> str:
        """Return a text with special tokens that users typed replaced by stand-ins."""
        return self._pattern.sub(
            lambda found: f"\ufdd0{self._typed.index(found.group())}\ufdd1", text
        )

    @staticmethod
    def _is_name(key: str, value: object) -> bool:
        """Return whether the template reads a value: a role may be spelled like a special token."""
        return key in ("role", "type") and isinstance(value, str) and value.isidentifier()

    def _guarded(self, value: object) -> object:
        if isinstance(value, str):
            return self.guarded(value)
        if isinstance(value, list):
            return [self._guarded(entry) for entry in cast("list[object]", value)]
        if isinstance(value, dict):
            entries = cast("dict[str, object]", value)
            return {self.guarded(key): self._guarded(entry) for key, entry in entries.items()}
        return value

    def render(
        self,
        messages: Sequence[Message],
        then: Literal["nothing", "generation", "continuation"] = "nothing",
        chat_template: str | None = None,
    ) -> str:
        """Return the conversation as text.

        Args:
            messages: guarded messages, at least one.
            then: what follows them: nothing, the header of an answer to be generated, or more of
                the last message (which is then left open).
            chat_template: another template than the tokenizer's own.

        Raises:
            DataError: when the template refuses the messages.
        """
        try:
            rendered = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=then == "generation",
                continue_final_message=then == "continuation",
                chat_template=chat_template,
                **cast("Any", self._options),
            )
        except _REFUSALS as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"the chat template refuses these messages: {reason}") from error
        return _ESCAPED.sub(self._unescaped, cast("str", rendered))

    def _unescaped(self, found: re.Match[str]) -> str:
        """Return a stand-in in the form the template gave it: JSON's or Python's."""
        number = int(found.group(1))
        return f"\ufdd0{number}\ufdd1" if number < len(self._typed) else found.group()

    def trace(
        self, messages: Sequence[Message], then: Literal["nothing", "generation"] = "nothing"
    ) -> Told:
        """Return the conversation as text, and the span of it that each message became, if any.

        Raises:
            DataError: when the template refuses the messages.
        """
        text = self.render(messages, then)
        source = self.tokenizer.get_chat_template(tools=cast("Any", self._options.get("tools")))
        try:
            told = self.render(numbered(messages), then, chat_template=marked(source))
        except DataError:
            return text, {}
        bare, spans = unmarked(told)
        written = {index: span for index, span in spans.items() if span[0] < span[1]}
        return text, written if bare == text else {}

    def ids(self, text: str) -> list[int]:
        """Return the ids of rendered text: the template's special tokens count, users' do not.

        The template alone decides about BOS (as it will when the model is served); one that
        doubles it is put right.
        """
        ids: list[int] = []
        for number, chunk in enumerate(_STAND_IN.split(text)):
            if number % 2:
                ids += tokenize(self.tokenizer, [self._typed[int(chunk)]])[0]
            elif chunk:
                ids += self.tokenizer(chunk, add_special_tokens=False, verbose=False)["input_ids"]
        bos = self.tokenizer.bos_token_id
        return ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids
