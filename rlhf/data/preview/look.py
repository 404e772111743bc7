"""Look: all that is shown of one kind of data, by the rows that training would get."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from rlhf.catalog.stages import Kind
from rlhf.config.data import DataConfig
from rlhf.config.preview import PreviewConfig
from rlhf.data.prepared import Entry, Prepared
from rlhf.data.preview.duplicates import SHOWN, Pair, find_duplicates
from rlhf.data.preview.figures import (
    SIDES,
    Lengths,
    SourceRows,
    Tokens,
    lengths_of,
    path_of,
    sources_of,
    text_of,
    tokens_of,
)
from rlhf.data.preview.segments import answers_of, shortened
from rlhf.data.split import Side
from rlhf.observe.preview import Segment

CHARACTERS = 1200
"""Letters of a row that are shown; of longer ones the middle of long parts is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShownRow:
    """One row, as text again."""

    where: str
    num_tokens: int
    parts: list[tuple[str, list[Segment]]]
    """A label and segments: the row, or what its answers share and each of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copies:
    """Rows that are like an earlier one."""

    rows: int
    leaking: int
    """Those of them that are held out, and their like is trained on, or the other way round."""
    examples: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class KindPreview:
    """What training will see of one kind of data."""

    kind: Kind
    sources: list[SourceRows]
    lengths: Lengths | None
    limit: tuple[str, int]
    """Name of the setting that limits the length, and its value in tokens."""
    overlong: list[tuple[str, int]]
    """`file:line` and tokens of the first rows that are left out for their length."""
    num_overlong: int
    tokens: Tokens
    same: Copies
    near: Copies
    compared: int
    num_plain: int
    """Prompts that are text, where the tokenizer has a chat template for messages."""
    rows: list[ShownRow]


def preview_of(
    kind: Kind,
    prepared: Prepared,
    tokenizer: PreTrainedTokenizerBase,
    data: DataConfig,
    preview: PreviewConfig,
) -> KindPreview:
    """Return what training will see of a kind."""
    entries = [entry for entry in prepared.entries if not entry.example.row.document]
    found = find_duplicates([text_of(entry) for entry in entries])
    sides = _side_of(prepared)
    limit = "max_prompt_length" if kind == "prompts" else "max_length"
    return KindPreview(
        kind=kind,
        sources=sources_of(prepared),
        lengths=lengths_of(prepared.entries),
        limit=(f"data.{limit}", getattr(data, limit)),
        overlong=list(prepared.overlong[:SHOWN]),
        num_overlong=len(prepared.overlong),
        tokens=tokens_of(prepared),
        same=_copies(found.same, entries, sides),
        near=_copies(found.near, entries, sides),
        compared=found.compared,
        num_plain=sum(isinstance(entry.example.asked.prompt, str) for entry in entries)
        if tokenizer.chat_template
        else 0,
        rows=[_shown(entry, tokenizer) for entry in _first_of_each(prepared, preview.rows)],
    )


def _side_of(prepared: Prepared) -> dict[int, Side]:
    """Return the side of every row, by the row itself."""
    entries = prepared.entries
    return {id(entries[index]): side for side in SIDES for index in prepared.sides[side]}


def _copies(pairs: Sequence[Pair], entries: Sequence[Entry], sides: dict[int, Side]) -> Copies:
    leaking = [
        pair
        for pair in pairs
        if (sides.get(id(entries[pair.first])) == "train")
        != (sides.get(id(entries[pair.second])) == "train")
    ]
    worst = [*leaking, *(pair for pair in pairs if pair not in leaking[:SHOWN])][:SHOWN]
    return Copies(
        rows=len(pairs),
        leaking=len(leaking),
        examples=[_told(pair, entries) for pair in worst],
    )


def _told(pair: Pair, entries: Sequence[Entry]) -> str:
    first, second = (entries[index].example.row.where for index in (pair.first, pair.second))
    return f"{second} is like {first} ({pair.similarity:.0%})"


def _first_of_each(prepared: Prepared, most: int) -> list[Entry]:
    """Return the first rows of every source in turn, of those that are trained on."""
    waiting: dict[str, Iterator[Entry]] = {}
    rows: dict[str, list[Entry]] = {}
    for index in dict.fromkeys(prepared.sides["train"]):
        rows.setdefault(path_of(prepared.entries[index]), []).append(prepared.entries[index])
    waiting = {path: iter(entries) for path, entries in rows.items()}
    found: list[Entry] = []
    while waiting and len(found) < most:
        for path in list(waiting):
            entry = next(waiting[path], None)
            if entry is None:
                del waiting[path]
            elif len(found) < most:
                found.append(entry)
    return found


def _shown(entry: Entry, tokenizer: PreTrainedTokenizerBase) -> ShownRow:
    parts = answers_of(tokenizer, entry)
    labels = [""] * len(parts) if len(parts) == 1 else ["", *_ranks(len(parts) - 1)]
    share = CHARACTERS // len(parts)
    shown = [
        (label, shortened(part, share)) for label, part in zip(labels, parts, strict=True) if part
    ]
    return ShownRow(where=entry.example.row.where, num_tokens=entry.length, parts=shown)


def _ranks(answers: int) -> list[str]:
    if answers == 2:
        return ["chosen", "rejected"]
    return [f"rank {place}" for place in range(1, answers + 1)]
