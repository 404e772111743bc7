"""Stops: the tokens that end a response, by a model's folder or its files on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from transformers.utils import cached_file

from rlhf.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_FILES = ("generation_config.json", "config.json")
"""Where a model names its own ends: the first of them that it has, as transformers reads them."""
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def stop_ids(path: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the token ids that end a response: the tokenizer's EOS and the model's own.

    Args:
        path: Folder or hub name; a GGUF file has no ends of its own.
        tokenizer: The model's tokenizer.

    Raises:
        ModelError: when the model's files are damaged.
    """
    found = next(filter(None, (_file(path, name) for name in _FILES)), None)
    return tuple(sorted({cast("int", tokenizer.eos_token_id), *(_named(found) if found else ())}))


def special_ids(path: str) -> Iterator[tuple[str, str, int]]:
    """Yield (file, key, id) of every special token's id that a model's files name.

    Raises:
        ModelError: when the model's files are damaged.
    """
    for name in _FILES:
        file = _file(path, name)
        if file is not None:
            for key in _SPECIAL:
                yield from ((name, key, token) for token in _named(file, key))


def _file(path: str, name: str) -> Path | None:
    if Path(path).exists():
        file = Path(path) / name
        return file if file.is_file() else None
    try:
        found = cached_file(path, name)
    except OSError:  # it has none, or cannot be asked: then its weights cannot be had either
        return None
    return None if found is None else Path(found)


def _named(file: Path, key: str = "eos_token_id") -> list[int]:
    """Return the ids under a key of a JSON file; those of end tokens must be whole numbers."""
    try:
        read: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise ModelError(
            f"{file}: not JSON in UTF-8 ({error}); restore it from its source"
        ) from error
    if not isinstance(read, dict):
        raise ModelError(
            f"{file}: holds {type(read).__name__}; it must be an object, as transformers writes it"
        )
    text = cast("dict[str, Any]", read).get("text_config")
    ids = read.get(key, text.get(key) if isinstance(text, dict) else None)
    listed = ids if isinstance(ids, list) else [] if ids is None else [ids]
    if key != "eos_token_id":
        return [each for each in listed if type(each) is int]
    wrong = [each for each in listed if type(each) is not int or each < 0]
    if wrong:
        raise ModelError(
            f"{file}: eos_token_id={ids!r}; it must be a token id (0 or more), or a list of them"
        )
    return listed
