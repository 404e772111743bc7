"""Data view: what `rlhf data` found, drawn for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rlhf.data.preview.figures import Overlap
from rlhf.data.preview.look import Copies, KindPreview
from rlhf.observe.numbers import counted
from rlhf.observe.preview import PreviewConsole, Segment

if TYPE_CHECKING:
    from rlhf.commands.data import Preview

LEARNS = {
    "demonstrations": "SFT learns the marked tokens",
    "preferences": "the reward model scores each answer at its last token",
    "prompts": "the policy answers where the prompt ends",
    "pretraining": "PPO's PTX loss learns the marked tokens",
}
"""What training does with the rows of each kind."""
ANSWERS_HERE = Segment(text=" \u2192 the answer", note=True)


def show(preview: Preview) -> None:
    """Print all of it: rows first, then what is odd about them, then what they cost."""
    console = PreviewConsole()
    if preview.tokenizer:
        console.note(f"tokenizer: {preview.tokenizer}")
    if any(kind.rows for kind in preview.kinds):
        console.legend()
    for kind in preview.kinds:
        _show_kind(console, kind, is_refused=kind.kind in preview.refused)
    _show_overlaps(console, preview)
    for line in preview.warnings:
        console.warn(line)
    if preview.cost:
        console.table("What training would take", ("stage", "quantity", "value"), preview.cost)


def _show_kind(console: PreviewConsole, kind: KindPreview, *, is_refused: bool) -> None:
    rows = sum(source.train for source in kind.sources)
    without = ", without those that would stop training (below)" if is_refused else ""
    console.heading(f"data.{kind.kind}", f"{counted(rows, 'row')} to train on{without}")
    for row in kind.rows:
        parts = [(label, list(segments)) for label, segments in row.parts]
        if kind.kind == "prompts":
            parts[-1][1].append(ANSWERS_HERE)
        console.row(f"{row.where}  {row.num_tokens:,} tokens", parts)
    if kind.rows:
        console.note(f"\n{LEARNS[kind.kind]}")
    columns = ("source", "read as", "train", "validation", "test")
    console.table(
        "Rows",
        columns,
        [(s.path, s.layout or "TRL", s.train, s.validation, s.test) for s in kind.sources],
    )
    for line in _facts(kind):
        console.note(line)
    for line in _doubts(kind):
        console.warn(line)


def _facts(kind: KindPreview) -> Iterator[str]:
    name, limit = kind.limit
    if kind.lengths is not None:
        found = kind.lengths
        yield (
            f"length: median {found.median:,} tokens, 95 % within {found.most_of_them:,}, longest "
            f"{found.longest:,} at {found.longest_at} ({name}={limit:,})"
        )
    if kind.num_plain:
        yield (
            f"{counted(kind.num_plain, 'prompt')} of plain text: the chat template takes no part "
            "in them, as it would in messages"
        )
    if kind.tokens.learned:
        share = kind.tokens.learned / max(1, kind.tokens.read)
        yield f"learned: {kind.tokens.learned:,} of {kind.tokens.read:,} tokens ({share:.0%})"


def _doubts(kind: KindPreview) -> Iterator[str]:
    name, limit = kind.limit
    if kind.num_overlong:
        first = ", ".join(f"{where} ({tokens:,})" for where, tokens in kind.overlong)
        yield (
            f"{counted(kind.num_overlong, 'row')} of more than {name}={limit:,} tokens left out: "
            f"{first}"
        )
    yield from _alike(kind.same, "the same words as another")
    yield from _alike(kind.near, "nearly the words of another (80 % of their five-word runs)")
    rows = sum(source.train + source.validation + source.test for source in kind.sources)
    if kind.compared < rows and kind.compared:
        yield f"only the first {kind.compared:,} rows were looked at for near copies"


def _alike(found: Copies, what: str) -> Iterator[str]:
    if not found.rows:
        return
    leaking = ""
    if found.leaking:
        leaking = f"; {found.leaking:,} of them lie on another side than their like"
    have = "has" if found.rows == 1 else "have"
    yield (f"{counted(found.rows, 'row')} {have} {what}{leaking}: {', '.join(found.examples)}")


def _show_overlaps(console: PreviewConsole, preview: Preview) -> None:
    by_choice = preview.split_by == "row"
    for overlap in preview.overlaps:
        if overlap.leaks and not by_choice:
            console.warn(
                f"{_shared(overlap)}: trained on and held out; the first at {overlap.example}"
            )
    leaking = [_shared(overlap) for overlap in preview.overlaps if overlap.leaks]
    if leaking and by_choice:
        console.note(
            f"data.split_by=row parts rows, so prompts lie on both sides: {'; '.join(leaking)}"
        )
    same = [_shared(overlap) for overlap in preview.overlaps if not overlap.leaks]
    if same:
        console.note(f"shared: {'; '.join(same)}")


def _shared(overlap: Overlap) -> str:
    return f"{counted(overlap.prompts, 'prompt')} of {overlap.first} in {overlap.second}"
