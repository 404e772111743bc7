"""Turns: the span of each assistant turn in a rendered conversation, for any chat template."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlhf.data.marks import Span
from rlhf.data.plain import Learned, closing, common_length
from rlhf.data.template import Message, Template, Told
from rlhf.errors import DataError

# A noncharacter, so no header goes on with it.
_STAND_IN = "\ufdd4"
_REASONING = ("reasoning_content", "reasoning", "thinking")


def encode_turns(
    template: Template, messages: Sequence[Message], first: int = 0, before: str | None = None
) -> Learned:
    """Encode a conversation; learned is every assistant turn from message `first` on.

    A turn is what its message wrote, without the header that asks for it, up to and including its
    end-of-turn token. The template itself tells which message wrote what (rlhf.data.marks), so
    no text is searched for. Borders between tokens are longest common prefixes of ids. A
    conversation that ends with the assistant ends with EOS: tokens behind it are cut, and where
    the template writes none it is appended.

    Args:
        template: the chat template.
        messages: guarded messages.
        first: index of the first message that may be learned.
        before: the text before message `first`, where that is not its ordinary header (a prefill).

    Raises:
        DataError: when the template rewrites a turn once later turns follow, or none is learned.
    """
    told = template.trace(messages)
    text, ids = told[0], template.ids(told[0])
    mask, high = [False] * len(ids), 0
    for index in range(first, len(messages)):
        if _is_answer(messages[index]):
            start, end = _learned(template, messages, index, told)
            if before is not None and index == first:
                start = common_length(before, text)
            low = max(1, common_length(template.ids(text[:start]), ids))
            high = common_length(template.ids(text[:end]), ids)
            mask[low:high] = [True] * (high - low)
    spoken = filter(_is_answer, messages[first:])
    said = any(any(typed_texts(answer)) for answer in spoken)
    if not high or (not any(mask) and said):
        raise DataError("no assistant turn to learn from")
    if not _is_answer(messages[-1]):
        return ids, mask
    return _closed(template, ids[:high], mask[:high])


def ending(template: Template, asked: Sequence[Message]) -> list[int]:
    """Return the ids that follow the answer to guarded messages: its end of turn and EOS."""
    before = asked[:-1] if _is_answer(asked[-1]) else asked  # or it is continued
    text, spans = template.trace([*before, like(asked[-1], "assistant", _STAND_IN)])
    start = text.rfind(_STAND_IN) + 1 or len(text)
    end = _last_end(template, text, (start, spans.get(len(before), (0, len(text)))[1]))
    return _closed(template, template.ids(text[start:end]), [])[0]


def _closed(template: Template, ids: list[int], mask: list[bool]) -> Learned:
    eos = closing(template.tokenizer)
    return (ids, mask) if ids[-1:] == [eos] else ([*ids, eos], [*mask, True])


def _learned(template: Template, messages: Sequence[Message], index: int, told: Told) -> Span:
    """Return the span of an assistant turn that is learned."""
    text, spans = told
    span = spans[index] if index in spans else _guess(template, messages[: index + 1], text)
    start = span[0] + _header_length(template, messages, index, text[slice(*span)])
    if index == len(messages) - 1:
        return start, _last_end(template, text, (start, span[1]))
    _check_kept(template, messages[: index + 1], text[slice(*span)], span[0])
    alone = not _is_answer(messages[index + 1])
    return start, _end(template, text, (start, span[1]), borrow=alone)


def _is_answer(message: Message) -> bool:
    return message["role"] == "assistant"


def _guess(template: Template, upto: Sequence[Message], text: str) -> Span:
    """Return the last message's span by prefixes, where the template has no marks."""
    start = common_length(template.render(upto[:-1]), text) if upto[1:] else 0
    end = common_length(template.render(upto), text)
    if end < start or (end == start and any(typed_texts(upto[-1]))):
        raise DataError(_rewritten(len(upto)))
    return start, end


def _header_length(template: Template, messages: Sequence[Message], index: int, turn: str) -> int:
    """Return how much of a turn is the header that asks for it."""
    header = _header(template, messages[:index])
    if header and turn.startswith(header):
        return len(header)
    # Some templates ask for nothing here (behind a tool's answer, say), and write a header yet.
    usual = _header(template, [like(messages[index], "user", "a")])
    if turn.startswith(usual) and (usual or not header):
        return len(usual)
    # The header differs from a finished turn's. Letters that the answer shares with it by chance
    # belong to the answer, so another answer in its place shows where the two differ.
    answer = like(messages[index], "assistant", _STAND_IN)
    other, spans = template.trace([*messages[:index], answer, *messages[index + 1 :]])
    shared = turn[: common_length(turn, other[slice(*spans[index])])] if index in spans else turn
    # BOS and a default system prompt may stand before the first message's header.
    places = range(1 if index else len(shared) + 1)
    found = max(places, key=lambda at: common_length(header or usual, shared[at:]))
    return found + common_length(header or usual, shared[found:])


def like(message: Message, role: str, text: str) -> Message:
    """Return a message whose content is of the same kind as another's: text, or parts."""
    parts = isinstance(message.get("content"), list)
    return {"role": role, "content": [{"type": "text", "text": text}] if parts else text}


def _header(template: Template, asked: Sequence[Message]) -> str:
    """Return the header that the template adds to request an answer to these messages."""
    last = len(asked) - 1
    if last < 0:
        return ""
    try:
        text, spans = template.trace(asked, "generation")
        shared = common_length(template.render(asked), text)
    except DataError:
        return ""  # it adds none here: after an answer, for example
    # What is written instead may begin alike; and some ask before the last message's loop ends.
    return text[min(shared, spans.get(last, (0, shared))[1]) :]


def _end(template: Template, text: str, turn: Span, *, borrow: bool) -> int:
    """Return where a turn that others follow ends: after its end-of-turn token.

    Where it writes none, the token that begins the next turn ends it (GLM's `<|user|>`).
    """
    start, end = turn
    said = text[start:end].rstrip()
    if said.endswith(tuple(template.specials)):
        return start + len(said)
    if not borrow:
        return end
    bos = template.tokenizer.bos_token
    follows = (s for s in template.specials if s != bos and text.startswith(s, end))
    return end + len(next(follows, ""))


def _last_end(template: Template, text: str, turn: Span) -> int:
    """Return where the last turn ends: after its EOS, or else after all of its text."""
    (start, end), eos = turn, str(template.tokenizer.eos_token)
    behind = text[end:].lstrip()
    if behind.startswith(eos):
        return len(text) - len(behind) + len(eos)
    found = text.rfind(eos, start, end)
    return end if found < 0 else found + len(eos)


def _check_kept(template: Template, upto: Sequence[Message], turn: str, start: int) -> None:
    """Refuse a turn that loses some of its text once others follow (its reasoning, for example)."""
    if all(typed in turn for typed in typed_texts(upto[-1])):
        return
    text, spans = template.trace(upto)
    if text[slice(*spans.get(len(upto) - 1, (start, len(text))))] != turn:
        raise DataError(_rewritten(len(upto)))


def reasons(message: Message) -> bool:
    """Return whether an assistant's message has reasoning beside its answer."""
    told = any(message.get(name) for name in _REASONING) or "</think>" in str(
        message.get("content")
    )
    return told and _is_answer(message)


def typed_texts(message: Message) -> Iterator[str]:
    """Yield a message's content and reasoning without outer whitespace, which templates trim."""
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    for text in (*texts, *(message.get(name) for name in _REASONING)):
        if isinstance(text, str):
            yield text.strip()


def _rewritten(number: int) -> str:
    return (
        f"the chat template rewrites message {number} when later messages follow (it drops "
        "reasoning, say), so what was answered is not known; "
        "give one row an answer, as prompt + completion"
    )
