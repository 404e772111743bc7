"""Segments: the tokens of a row as text again, parted where learning begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from transformers import PreTrainedTokenizerBase

from rlhf.data.plain import Learned, common_length
from rlhf.data.prepared import Entry
from rlhf.observe.preview import Segment

MOST_SEGMENTS = 40
"""Segments of a row that are shown; in longer conversations those in the middle are left out."""
LEAST_CHARACTERS = 60
"""Letters of a segment that are always shown."""


def segments_of(tokenizer: PreTrainedTokenizerBase, learned: Learned) -> list[Segment]:
    """Return ids as text, a segment for each stretch that is learned, or special, alike.

    A letter whose bytes lie in two segments belongs to the second.
    """
    ids, mask = learned
    special = special_ids(tokenizer)
    kinds = [(mine, token in special) for token, mine in zip(ids, mask, strict=True)]
    starts = [i for i in range(len(ids)) if i == 0 or kinds[i] != kinds[i - 1]]
    text = _decoded(tokenizer, ids)
    places = [common_length(_decoded(tokenizer, ids[:start]), text) for start in starts]
    found: list[Segment] = []
    ends = [*starts[1:], len(ids)]
    for start, end, at, to in zip(starts, ends, places, [*places[1:], len(text)], strict=True):
        mine, is_special = kinds[start]
        found.append(
            Segment(text=text[at:to], learned=mine, special=is_special, num_tokens=end - start)
        )
    return found


def answers_of(tokenizer: PreTrainedTokenizerBase, entry: Entry) -> list[list[Segment]]:
    """Return the prompt of several answers, then each of them; of a single one all of it.

    Whole texts have no prompt but what they share at the start.
    """
    if len(entry.answers) == 1:
        return [segments_of(tokenizer, entry.answers[0])]
    rows = [ids for ids, _ in entry.answers]
    shared = min(mask.index(True) for _, mask in entry.answers)
    if entry.example.asked.prompt is None:
        shared = min(common_length(rows[0], ids) for ids in rows[1:])
    parts = [segments_of(tokenizer, (rows[0][:shared], [False] * shared))]
    for ids in rows:
        mask = [index >= shared for index in range(len(ids))]
        parts.append(
            [segment for segment in segments_of(tokenizer, (ids, mask)) if segment.learned]
        )
    return parts


def shortened(segments: Sequence[Segment], characters: int) -> list[Segment]:
    """Return segments of about so many letters in all, with what was left out counted in them."""
    shown = list(segments)
    if len(shown) > MOST_SEGMENTS:
        half = MOST_SEGMENTS // 2
        gone = sum(segment.num_tokens for segment in shown[half:-half])
        left_out = Segment(text=f" \u2026 {gone:,} tokens \u2026 ", note=True)
        shown = [*shown[:half], left_out, *shown[-half:]]
    if sum(len(segment.text) for segment in shown) <= characters:
        return shown
    share = max(LEAST_CHARACTERS, characters // max(1, len(shown)))
    short = sum(len(segment.text) for segment in shown if len(segment.text) <= share)
    long = [segment for segment in shown if len(segment.text) > share]
    share = max(share, (characters - short) // max(1, len(long)))
    return [_cut(segment, share) for segment in shown]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids of all special tokens."""
    added = tokenizer.added_tokens_decoder.items()
    return {*tokenizer.all_special_ids, *(index for index, token in added if token.special)}


def _cut(segment: Segment, most: int) -> Segment:
    text = segment.text
    if len(text) <= most:
        return segment
    tail = most // 3
    head = most - tail
    left_out = f" \u2026 {len(text) - most:,} letters \u2026 "
    return replace(segment, text=text[:head] + left_out + text[len(text) - tail :])


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    text = tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
    return cast("str", text)
