"""What a reward function gave back becomes checked floats, or one DataError that says why not.

Nothing is skipped or replaced: a row without a usable score would silently train on nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence, Set
from numbers import Real
from typing import cast

from torch import Tensor

from rlhf.errors import DataError

_EXCERPT = 60


def checked_scores(result: object, prompts: Sequence[object], name: str) -> list[float]:
    """Return one finite float a prompt.

    Args:
        result: A list, tuple, one-dimensional tensor or array of numbers.
        prompts: The prompts scored, in order; strings or messages.
        name: The function, for messages.

    Raises:
        DataError: naming the function, the first bad entry, its prompt and the rule.
    """
    entries = _entries(result, name)
    if len(entries) != len(prompts):
        raise DataError(
            f"reward function {name} returned {len(entries)} scores for {len(prompts)} responses; "
            "return exactly one number a response, in order"
        )
    return [
        _number(entry, f"reward function {name}, response {index} (prompt {excerpt(prompt)})")
        for index, (entry, prompt) in enumerate(zip(entries, prompts, strict=True))
    ]


def excerpt(prompt: object) -> str:
    """Return the start of a prompt, on one line; of messages, the last one's content."""
    text: object = prompt
    if isinstance(prompt, Sequence) and not isinstance(prompt, str):
        messages = cast("Sequence[Mapping[str, object]]", prompt)
        text = messages[-1]["content"] if messages else ""
    return _short(text)


def _entries(result: object, name: str) -> list[object]:
    if isinstance(result, Tensor):
        if result.dim() == 1:
            return result.tolist()
        shape = f"a tensor of shape {tuple(result.shape)}"
        raise DataError(f"reward function {name} returned {shape}; return one number a response")
    if isinstance(result, str | bytes | Mapping | Set) or not isinstance(result, Collection):
        kind = "None" if result is None else f"a {type(result).__name__}"
        raise DataError(
            f"reward function {name} returned {kind}; return a list with one number a response"
        )
    return list(cast("Collection[object]", result))


def _number(entry: object, where: str) -> float:
    if isinstance(entry, Tensor) and entry.dim() == 0:
        entry = entry.item()
    if not isinstance(entry, Real) or not math.isfinite(entry):
        raise DataError(
            f"{where}: score {_short(entry)}; every score must be a finite number, "
            "so give such a response the lowest score you mean"
        )
    return float(entry)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _EXCERPT else f"{shown[:_EXCERPT]}..."
