"""Documents: text files of any length, cut into windows that a model can read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.encode import warn_of_special_strings
from rlhf.data.examples import Example
from rlhf.data.plain import closing, opening, tokenize
from rlhf.data.prepared import Entry
from rlhf.data.split import Member

_log = logging.getLogger(__name__)
_PART = 1 << 16
"""Characters that are tokenized at a time; a longer text is parted at ends of lines."""


def cut_documents(
    tokenizer: PreTrainedTokenizerBase, examples: Sequence[Example], config: DataConfig
) -> list[Entry]:
    """Return the windows of documents.

    Every token of a document but its first is learned once: a window begins with the last tokens
    of the one before (data.window_overlap), which are read and not learned again. EOS stands at the
    document's end alone. The side of a window hangs on its own tokens, since a corpus may be one
    document.

    Args:
        tokenizer: the policy's.
        examples: documents.
        config: data.max_length is the tokens of a window.
    """
    most, overlap = config.max_length, config.window_overlap
    warn_of_special_strings(tokenizer, [_text(example) for example in examples])
    windows: list[Entry] = []
    for example in examples:
        parts = tokenize(tokenizer, list(parted(_text(example))))
        ids = [*opening(tokenizer), *(i for part in parts for i in part), closing(tokenizer)]
        starts = range(0, max(1, len(ids) - overlap), most - overlap)
        if len(starts) > 1:
            _log.warning(
                "%s: a document of %s tokens, cut into %s windows of data.max_length=%d",
                example.row.where,
                f"{len(ids):,}",
                f"{len(starts):,}",
                most,
            )
        for start in starts:
            window = ids[start : start + most]
            content = " ".join(map(str, window))
            known = overlap if start else 1
            mask = [False] * known + [True] * (len(window) - known)
            member = Member(content, content, example.weight)
            windows.append(Entry(example, member, [(window, mask)]))
    return windows


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
