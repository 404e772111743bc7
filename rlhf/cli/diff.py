"""Diff: how much two runs' figures, weights and answers differ.

A difference of two numbers is |a - b| / max(1, |a|, |b|): absolute for small numbers, relative for
large ones. It is 0 or infinite for texts, and infinite for values that only one run has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from rlhf.checkpoint.files import read_tensors, sha256
from rlhf.observe.files import EVALUATION, REWARD_MODEL, SAMPLES, read_object, read_rows, read_steps

OF_THE_MACHINE = ("time/", "busy/", "idle/", "speed/", "memory/")
"""Metrics of time and memory; no run repeats them."""
TOLERANCE = 1e-5
SIGNATURE = "inputs_sha256"
"""What an evaluation came from: names folders, so it is another one in another folder."""


@dataclass(frozen=True)
class Difference:
    """One line of the comparison."""

    what: str
    """A metric of a stage, a file of weights, a file of results."""
    difference: float
    """The largest; 0 when every bit is the same, infinite when there is nothing to compare."""

    @property
    def verdict(self) -> str:
        """Return the difference in words, for the table."""
        if self.difference == 0:
            return "identical"
        return f"equal within {TOLERANCE:g}" if self.is_equal else "DIFFERS"

    @property
    def is_equal(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= TOLERANCE


def compare_runs(one: Path, other: Path) -> list[Difference]:
    """Compare the metrics of every step, all weights, answers, and evaluations of the models."""
    found = [*_metrics(one, other), *_weights(one, other), _answers(one, other)]
    for name in (REWARD_MODEL, EVALUATION):
        here, there = read_object(one / name), read_object(other / name)
        if here or there:
            found.append(Difference(name, largest_difference(_leaves(here), _leaves(there))))
    return found


def largest_difference(one: Mapping[str, object], other: Mapping[str, object]) -> float:
    """Return the largest difference of two flat records."""
    names = one.keys() | other.keys()
    return max((difference_of(one.get(name), other.get(name)) for name in names), default=0.0)


def difference_of(one: object, other: object) -> float:
    """Return the difference of two values."""
    numbers = [
        float(value)
        for value in (one, other)
        if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    if len(numbers) < 2:
        return 0.0 if one == other else math.inf
    a, b = numbers
    return 0.0 if a == b else abs(a - b) / max(1.0, abs(a), abs(b))


def _metrics(one: Path, other: Path) -> Iterator[Difference]:
    here, there = _curves(one), _curves(other)
    for name in sorted(here.keys() | there.keys()):
        yield Difference(name, largest_difference(here.get(name, {}), there.get(name, {})))


def _curves(run: Path) -> dict[str, dict[str, object]]:
    """Return value by step, by `stage metric`."""
    curves: dict[str, dict[str, object]] = {}
    for row in read_steps(run):
        for name, value in cast("dict[str, object]", row.get("metrics", {})).items():
            if not name.startswith(OF_THE_MACHINE):
                curves.setdefault(f"{row.get('stage')} {name}", {})[str(row.get("step"))] = value
    return curves


def _weights(one: Path, other: Path) -> Iterator[Difference]:
    names = {
        path.relative_to(run).as_posix()
        for run in (one, other)
        for path in run.rglob("*.safetensors")
        if path.relative_to(run).parts[0] != "checkpoints"
    }
    for name in sorted(names):
        here, there = one / name, other / name
        if not (here.is_file() and there.is_file()):
            yield Difference(name, math.inf)
        elif sha256(here) == sha256(there):
            yield Difference(name, 0.0)
        else:
            yield Difference(name, weights_difference(read_tensors(here), read_tensors(there)))


def weights_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Return the largest difference of two sets of named tensors of any shapes and dtypes."""
    if one.keys() != other.keys():
        return math.inf
    return max((_tensor_difference(one[name], other[name]) for name in one), default=0.0)


def _tensor_difference(one: Tensor, other: Tensor) -> float:
    if one.shape != other.shape or one.dtype != other.dtype:
        return math.inf
    a, b = one.double().flatten(), other.double().flatten()
    scale = torch.maximum(a.abs(), b.abs()).clamp(min=1.0)
    difference = ((a - b).abs() / scale).nan_to_num(nan=math.inf)
    return float(difference.max()) if len(difference) else 0.0


def _answers(one: Path, other: Path) -> Difference:
    here, there = (
        {str(at): row for at, row in enumerate(read_rows(run / SAMPLES))} for run in (one, other)
    )
    return Difference(SAMPLES, largest_difference(_leaves(here), _leaves(there)))


def _leaves(value: object, path: str = "") -> dict[str, object]:
    """Return every value inside nested mappings and lists by its path."""
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        inside = [(f"{path}.{key}", entry) for key, entry in pairs if key != SIGNATURE]
    elif isinstance(value, list):
        entries = cast("list[object]", value)
        inside = [(f"{path}.{at}", entry) for at, entry in enumerate(entries)]
    else:
        return {path: value}
    return {name: leaf for at, entry in inside for name, leaf in _leaves(entry, at).items()}
