"""Figures: how many rows of each source are on which side, how long they are, what they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rlhf.catalog.stages import Kind
from rlhf.data.new_tokenizer import strings_of
from rlhf.data.prepared import Entry, Prepared
from rlhf.data.rows import Row
from rlhf.data.split import Side

SIDES: Final[tuple[Side, ...]] = ("train", "validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Tokens of the rows of one kind, each row once; of a ranking its longest answer."""

    median: int
    most_of_them: int
    """95 % of the rows are no longer."""
    longest: int
    longest_at: str
    """`file:line` of the longest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRows:
    """Rows of one source by their side, each as often as it is used."""

    path: str
    layout: str
    """The layout it was read as, or documents; empty for TRL's columns."""
    train: int
    validation: int
    test: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Tokens that one epoch goes over, of the train side."""

    read: int
    learned: int
    """Those that have a loss; of rankings and prompts none have one by themselves."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlap:
    """Prompts that two sides share, by their canonical form."""

    first: str
    """Kind and side, such as `prompts test`."""
    second: str
    prompts: int
    leaks: bool
    """Whether one of them is trained on and the other is there to judge the result."""
    example: str
    """`file:line` of one of them."""


def lengths_of(entries: Sequence[Entry]) -> Lengths | None:
    """Return the lengths of rows; None without any."""
    if not entries:
        return None
    ordered = sorted(entries, key=lambda entry: entry.length)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95)]
    return Lengths(
        median=at[0].length,
        most_of_them=at[1].length,
        longest=ordered[-1].length,
        longest_at=ordered[-1].example.row.where,
    )


def sources_of(prepared: Prepared) -> list[SourceRows]:
    """Return the rows of every source, in the order of the sources."""
    counts: dict[str, Counter[str]] = {}
    layouts: dict[str, str] = {}
    for entry in prepared.entries:
        counts.setdefault(path_of(entry), Counter())
        layouts.setdefault(path_of(entry), _layout(entry.example.row))
    for name, rows in prepared.sides.items():
        for index in rows:
            counts[path_of(prepared.entries[index])][name] += 1
    return [
        SourceRows(path=path, layout=layouts[path], **{side: found[side] for side in SIDES})
        for path, found in counts.items()
    ]


def tokens_of(prepared: Prepared) -> Tokens:
    """Return the tokens of one epoch; each answer of a ranking is read with its prompt."""
    rows = [prepared.entries[index] for index in prepared.sides["train"]]
    is_learned = all(len(entry.answers) == 1 for entry in rows)
    return Tokens(
        read=sum(len(ids) for entry in rows for ids, _ in entry.answers),
        learned=sum(sum(mask) for entry in rows for _, mask in entry.answers) if is_learned else 0,
    )


def overlaps_of(kinds: Mapping[Kind, Prepared]) -> list[Overlap]:
    """Return what every two sides share, those that leak first."""
    places: dict[tuple[Kind, Side], dict[str, str]] = {
        (kind, side): _prompts(prepared, side) for kind, prepared in kinds.items() for side in SIDES
    }
    found: list[Overlap] = []
    named = list(places.items())
    for number, ((kind, side), prompts) in enumerate(named):
        for (other, its_side), its_prompts in named[number + 1 :]:
            shared = prompts.keys() & its_prompts.keys()
            leaks = (side == "train") != (its_side == "train")
            if shared and (leaks or side == its_side == "train"):
                first = next(where for key, where in its_prompts.items() if key in shared)
                found.append(
                    Overlap(
                        first=f"{kind} {side}",
                        second=f"{other} {its_side}",
                        prompts=len(shared),
                        leaks=leaks,
                        example=first,
                    )
                )
    return sorted(found, key=lambda overlap: not overlap.leaks)


def text_of(entry: Entry) -> str:
    """Return all that a row says, as one text."""
    asked, bare = entry.example.asked, entry.example.bare
    parts = (asked.prompt if bare is None else bare, *asked.answers)
    return "\n".join(text for part in parts for text in strings_of(part))


def path_of(entry: Entry) -> str:
    """Return the source of a row."""
    row = entry.example.row
    return row.folder or row.where.rpartition(":")[0]


def _layout(row: Row) -> str:
    return row.layout or ("documents" if row.document else "")


def _prompts(prepared: Prepared, side: Side) -> dict[str, str]:
    """Return where each prompt of a side stands first; windows of documents have none."""
    rows = (prepared.entries[index] for index in reversed(prepared.sides[side]))
    return {
        entry.example.asked.key: entry.example.row.where
        for entry in rows
        if not entry.example.row.document
    }
