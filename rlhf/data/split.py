"""Split: which rows train, which validate and which test, determined by their content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from rlhf.config.data import DataConfig
from rlhf.flow.tensors import TensorBatch

B = TypeVar("B", bound=TensorBatch)
Side = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Splits(Generic[B]):
    """One kind of data, on its three sides; a side may hold no rows, train holds at least one."""

    train: B
    """Rows to learn from, repeated or thinned by their source's weight."""
    validation: B
    """Rows that decide when to stop."""
    test: B
    """Rows for the final figures."""
    dropped: int
    """Rows left out because they were longer than their limit (data.overlong=drop)."""


@dataclass(frozen=True, slots=True)
class Member:
    """What decides the side and the number of copies of one row."""

    key: str
    """What the row's side hangs on: its prompt, so that no prompt lies on two sides."""
    content: str
    """The whole row; decides whether a fractional weight keeps it."""
    weight: float
    """Copies on the train side; a fraction keeps that share of the rows, by hash."""


def side(text: str, config: DataConfig) -> Side:
    """Return the side of a text: a function of the text and the two fractions only.

    Files, their order and seeds do not matter. Raising a fraction moves rows out of train, or
    between validation and test, and never from one of those back to train.
    """
    place = position(text)
    if place < config.test_fraction:
        return "test"
    return "validation" if place < config.test_fraction + config.validation_fraction else "train"


def position(text: str, purpose: str = "side") -> float:
    """Return a number in [0, 1), evenly spread over texts, fixed for each text and purpose."""
    digest = hashlib.sha256(f"{purpose}\0{text}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def divide(members: Sequence[Member], config: DataConfig) -> dict[Side, list[int]]:
    """Return the rows of each side, by index; train repeats and thins them by their weights.

    Where no row would be left to train on, the rows of the key that lies nearest to train's side
    become train.
    """
    sides: dict[Side, list[int]] = {"train": [], "validation": [], "test": []}
    keys = [m.key if config.split_by == "prompt" else m.content for m in members]
    places: list[Side] = [side(key, config) for key in keys]
    if members and "train" not in places:
        nearest = max(keys, key=position)
        places = ["train" if k == nearest else p for k, p in zip(keys, places, strict=True)]
    for index, place in enumerate(places):
        copies = _copies(members[index]) if place == "train" else 1
        sides[place].extend([index] * copies)
    if members and not sides["train"]:
        trained = [index for index, place in enumerate(places) if place == "train"]
        sides["train"] = [min(trained, key=lambda i: position(members[i].content, "weight"))]
    return sides


def _copies(member: Member) -> int:
    whole = int(member.weight)
    return whole + (position(member.content, "weight") < member.weight - whole)
