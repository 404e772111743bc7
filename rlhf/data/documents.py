"""Documents: text files of any length, cut into windows that a model can read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.encode import warn_of_special_strings
from rlhf.data.examples import Example
from rlhf.data.plain import Learned, closing, opening, tokenize
from rlhf.data.prepared import Entry
from rlhf.data.split import Member, Side, divide

_log = logging.getLogger(__name__)
_PART = 1 << 16
"""Characters that are tokenized at a time; a longer text is parted at ends of lines."""


def cut_documents(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], config: DataConfig
) -> list[Entry]:
    """Return the windows of documents.

    Every token of a document but its first is learned once: a window begins with the last tokens
    of the one before (data.window_overlap), which are read and not learned again. EOS stands at the
    document's end alone. All windows of a document are on one side, as what they share would leak;
    data.split_by=row parts them.

    Args:
        tokenizer: the policy's.
        examples: documents.
        config: data.max_length is the tokens of a window.
    """
    warn_of_special_strings(tokenizer, [_text(example) for example in examples])
    cut = [(example, _windows(tokenizer, example, config)) for example in examples]
    _tell_windows([(e, windows) for e, windows in cut if len(windows) > 1], config)
    entries = [
        Entry(example, Member(example.asked.key, content, example.weight), [(ids, mask)])
        for example, windows in cut
        for ids, mask in windows
        for content in [" ".join(map(str, ids))]
    ]
    _tell_sides(entries, config)
    return entries


def _windows(
    tokenizer: PreTrainedTokenizerBase, example: Example, config: DataConfig
) -> list[Learned]:
    """Return the ids of each window of a document, and which of them are learned."""
    most, overlap = config.max_length, config.window_overlap
    parts = tokenize(tokenizer, list(parted(_text(example))))
    ids = [*opening(tokenizer), *(i for part in parts for i in part), closing(tokenizer)]
    found: list[Learned] = []
    for start in range(0, max(1, len(ids) - overlap), most - overlap):
        window = ids[start : start + most]
        known = overlap if start else 1
        found.append((window, [False] * known + [True] * (len(window) - known)))
    return found


def _tell_windows(cut: Sequence[tuple[Example, Sequence[Learned]]], config: DataConfig) -> None:
    """Say into how many windows documents were cut, in one line."""
    if not cut:
        return
    tokens = sum(1 + sum(sum(mask) for _, mask in windows) for _, windows in cut)
    _log.warning(
        "%s of %s tokens, cut into %s windows of data.max_length=%d",
        f"{cut[0][0].row.where}: a document" if len(cut) == 1 else f"{len(cut):,} documents",
        f"{tokens:,}",
        f"{sum(len(windows) for _, windows in cut):,}",
        config.max_length,
    )


def _tell_sides(entries: Sequence[Entry], config: DataConfig) -> None:
    """Say where a side that was asked for gets no window, as there are too few documents."""
    sides = divide([entry.member for entry in entries], config)
    asked: dict[Side, float] = {
        "validation": config.validation_fraction,
        "test": config.test_fraction,
    }
    empty = [name for name, share in asked.items() if share and not sides[name]]
    keys = {entry.member.key for entry in entries}
    if not empty or config.split_by == "row" or len(entries) == len(keys):
        return
    what, sides_told = f"{len(entries):,} windows", " or ".join(empty)
    row = "part windows by data.split_by=row, which shares what overlaps"
    if len(keys) == 1:
        _log.warning(
            "%s: all %s of the one document are trained on, and none is held out for %s; give "
            "several documents, or %s",
            entries[0].example.row.where,
            what,
            sides_told,
            row,
        )
    else:
        _log.warning(
            "none of %s documents (%s) is held out for %s, as all windows of one are on one side; "
            "give more, raise data.%s_fraction, or %s",
            f"{len(keys):,}",
            what,
            sides_told,
            empty[0],
            row,
        )


def parted(text: str, most: int = _PART) -> Iterator[str]:
    """Yield a text in parts of at most so many characters, each up to the end of a line or word."""
    start = 0
    while start < len(text):
        end = start + most
        if end < len(text):
            ends = (text.rfind("\n", start, end) + 1, text.rfind(" ", start + 1, end))
            end = next((found for found in ends if found > start), end)
        yield text[start:end]
        start = end


def _text(example: Example) -> str:
    return str(example.row.values["text"])
