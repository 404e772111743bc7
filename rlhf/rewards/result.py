"""A reward function's result becomes checked floats, or one DataError with the reason why not.

Nothing is skipped or replaced: a row without a usable score would silently train on nothing.
"""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence, Set
from numbers import Real
from typing import Any, cast

from rlhf.errors import DataError

LARGEST = 1e18
"""Largest score: its square fits in fp32, in which all is computed."""
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
        text = messages[-1].get("content", "") if messages else ""
    return _short(text)


def place_of(error: BaseException) -> str:
    """Return FILE:LINE of where an error was raised."""
    frames = traceback.extract_tb(error.__traceback__, limit=-1)
    return f"{frames[-1].filename}:{frames[-1].lineno}"


def _entries(result: object, name: str) -> list[object]:
    if _is_tensor(result):
        shape = tuple(cast("Any", result).shape)
        if len(shape) == 1:
            return cast("Any", result).tolist()
        kind = f"a tensor of shape {shape}"
        raise DataError(f"reward function {name} returned {kind}; return one number a response")
    if isinstance(result, str | bytes | Mapping | Set) or not isinstance(result, Collection):
        kind = "None" if result is None else f"a {type(result).__name__}"
        raise DataError(
            f"reward function {name} returned {kind}; return a list with one number a response"
        )
    return list(cast("Collection[object]", result))


def _is_tensor(value: object) -> bool:
    """Return whether a value is a tensor, without importing torch, which takes seconds."""
    return any(f"{kind.__module__}.{kind.__name__}" == "torch.Tensor" for kind in type(value).mro())


def _number(entry: object, where: str) -> float:
    if _is_tensor(entry) and not cast("Any", entry).shape:
        entry = cast("Any", entry).item()
    try:
        score = float(entry) if isinstance(entry, Real) else float("nan")
    except OverflowError:
        score = float("inf")
    if not abs(score) <= LARGEST:
        raise DataError(
            f"{where}: score {_short(entry)}; every score must be a finite number of at most "
            f"{LARGEST:g}, so give such a response the lowest score you mean"
        )
    return score


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001 - a number of thousands of digits, or a user's own class
        return f"a {type(value).__name__} too large to show"
    return shown if len(shown) <= _EXCERPT else f"{shown[:_EXCERPT]}..."
