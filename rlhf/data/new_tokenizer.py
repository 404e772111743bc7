"""New tokenizer: what a new model reads with, trained on the texts it will learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from transformers import PreTrainedTokenizerFast

from rlhf.config.data import SourceConfig
from rlhf.data.problems import Problems
from rlhf.data.rows import read_rows
from rlhf.data.tokenizer import train_tokenizer


def new_tokenizer(sources: Sequence[SourceConfig], vocab_size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer trained on every string of the sources' rows.

    Malformed rows are passed over: whoever loads the rows tells them.

    Raises:
        DataError: when a source cannot be read.
    """
    rows = [row for source in sources for row in read_rows(source, Problems(source.path))]
    texts = [text for row in rows for value in row.values.values() for text in strings_of(value)]
    return train_tokenizer(texts, vocab_size)


def strings_of(value: object) -> list[str]:
    """Return the texts of a cell: itself, or those of its messages or parts."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for entry in cast("list[object]", value) for text in strings_of(entry)]
    if isinstance(value, dict):
        entries = cast("dict[str, object]", value)
        return strings_of(entries["content"] if "content" in entries else list(entries.values()))
    return []
