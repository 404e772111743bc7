"""Turns: where each assistant turn stands in a rendered conversation, for any chat template."""

from __future__ import annotations

from collections.abc import Sequence

from rlhf.data.plain import Learned, closing, common_length
from rlhf.data.template import Message, Template
from rlhf.errors import DataError


def encode_turns(
    template: Template, messages: Sequence[Message], first: int = 0, before: str | None = None
) -> Learned:
    """Encode a conversation; learned is every assistant turn from message `first` on.

    A turn is what follows the header that asks for it, up to and including its end-of-turn token.
    It is found by rendering prefixes of the conversation, then on token ids as the longest common
    prefix, so templates need no markers, and may add tokens to the header that a finished turn
    does not have. A conversation that ends with the assistant ends with EOS: tokens
    behind it are cut, and where the template writes none it is appended.

    Args:
        template: the chat template.
        messages: guarded messages.
        first: index of the first message that may be learned.
        before: the text before message `first`, where that is not its ordinary header (a prefill).

    Raises:
        DataError: when the template rewrites a turn once later turns follow, or none is learned.
    """
    text = template.render(messages)
    spans = _spans(template, messages, text, (first, before))
    if not spans:
        raise DataError("no assistant turn to learn from")
    ids = template.ids(text)
    mask = [False] * len(ids)
    eos, last_end = closing(template.tokenizer), 0
    for start, end in spans:
        low = max(1, common_length(template.ids(text[:start]), ids))
        high = len(ids) if end == len(text) else common_length(template.ids(text[:end]), ids)
        last_end = _after_last(ids, eos, low, high)
        mask[low:last_end] = [True] * (last_end - low)
    if messages[-1]["role"] != "assistant":
        return ids, mask
    ids, mask = ids[:last_end], mask[:last_end]
    return (ids, mask) if ids[-1] == eos else ([*ids, eos], [*mask, True])


def _after_last(ids: list[int], eos: int, low: int, high: int) -> int:
    """Return the index after the last EOS in ids[low:high], or high when there is none."""
    return next((i + 1 for i in range(high - 1, low - 1, -1) if ids[i] == eos), high)


def _spans(
    template: Template, messages: Sequence[Message], text: str, origin: tuple[int, str | None]
) -> list[tuple[int, int]]:
    """Return (start, end) in characters of text for each learned turn."""
    first, before = origin
    spans: list[tuple[int, int]] = []
    cursor = 0
    for index, message in enumerate(messages):
        content = content_text(message)
        if message["role"] == "assistant" and index >= first:
            header = before if index == first else None
            start = _start(template, messages[: index + 1], text, (cursor, header))
            last = index == len(messages) - 1
            end = len(text) if last else _end(template, messages[: index + 1], text, start)
            spans.append((start, end))
            cursor = end
        else:
            found = text.find(content, cursor)
            cursor = found + len(content) if found >= 0 else cursor
    return spans


def _start(
    template: Template, upto: Sequence[Message], text: str, origin: tuple[int, str | None]
) -> int:
    """Return where the last message of `upto` starts in text; origin is (cursor, own header)."""
    cursor, before = origin
    content = content_text(upto[-1])
    if before is None:
        if len(upto) == 1:
            return max(0, text.find(content))
        before = template.render(upto[:-1], then="generation")
    start = common_length(before, text)
    if start < len(before) and content:
        # The header differs from a finished turn's. Letters that both share by chance belong to
        # the answer, so look for the answer at or before the place where they part.
        found = text.rfind(content, cursor, start + len(content))
        start = found if found >= 0 else start
    if start < cursor:
        raise DataError(_rewritten(len(upto)))
    return start


def _end(template: Template, upto: Sequence[Message], text: str, start: int) -> int:
    """Return where the last message of `upto`, which others follow, ends in text."""
    content = content_text(upto[-1])
    after = template.render(upto)
    end = common_length(after, text)
    found = text.find(content, start)
    if end > start and found >= 0 and end >= found + len(content):
        return end
    # The template writes a turn differently once others follow (an empty reasoning block, say):
    # take the answer where it stands, and its tail from the rendering where it came last.
    tail = after[after.rfind(content) + len(content) :]
    end = found + len(content)
    shared = common_length(tail, text[end : end + len(tail)])
    if not content or found < 0 or text[start:found].strip() or (tail and not shared):
        raise DataError(_rewritten(len(upto)))
    return end + shared


def content_text(message: Message) -> str:
    """Return a message's text without outer whitespace, which many templates trim."""
    content = message.get("content")
    if isinstance(content, str):
        return content.strip()
    parts = content if isinstance(content, list) else []
    return "".join(part.get("text", "") for part in parts if isinstance(part, dict)).strip()


def _rewritten(number: int) -> str:
    return (
        f"the chat template rewrites what stands before or in message {number} when later messages "
        "follow (it drops reasoning, say), so what was answered cannot be told; "
        "give one row an answer, as prompt + completion"
    )
