"""Remote: how a method is called where a role is many ranks; marked on the role's own method.

A stage calls the method on the role's port as if it were one object. `rlhf/runtime/proxy.py` reads
the mark: it deals the rows over the ranks, and joins their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeVar

from torch import Tensor

from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import RolloutChunk, joined
from rlhf.flow.tensors import in_row_order, placed
from rlhf.observe.spans import Phase

M = TypeVar("M", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Asked:
    """The arguments of a call, and the rows that each rank got."""

    arguments: tuple[Any, ...]
    """Arguments of the call; the first is the batch, where it has one."""
    rows: Sequence[Tensor]
    """The rows each rank got, int64, where they were dealt."""


class Join(Protocol):
    """Joins the ranks' answers into one."""

    def __call__(self, answers: Sequence[Any], asked: Asked) -> Any:
        """Return the joined answer; `answers` are in rank order."""
        ...


def first(answers: Sequence[Any], asked: Asked) -> Any:
    """Return the first rank's answer, which speaks for all."""
    return answers[0]


def rows(answers: Sequence[Any], asked: Asked) -> Tensor:
    """Return tensors of dealt rows as one, in the order of the batch."""
    return in_row_order(answers, asked.rows)


def numbered_rows(answers: Sequence[Any], asked: Asked) -> Tensor:
    """Return (rows_N, values_N...) of ranks that chose rows themselves as one tensor."""
    return placed(answers, len(asked.arguments[0]))


def metrics(answers: Sequence[Any], asked: Asked) -> Metrics:
    """Return metrics of dealt rows as those of the batch."""
    return Metrics.merge(answers)


def chunks(answers: Sequence[Any], asked: Asked) -> RolloutChunk:
    """Return pairs (rank, chunk of its prompts) as one chunk of all prompts."""
    return joined(replace(chunk, rows_B=asked.rows[rank][chunk.rows_B]) for rank, chunk in answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """How a method's rows are dealt out, its answers joined, and its call timed."""

    deal: Literal["whole", "rows", "first"] = "whole"
    """Who gets the batch, the first argument: every rank all of it; every rank a share, by length;
    or the first rank all of it and the others no rows."""
    join: Join = first
    """What becomes of the answers."""
    streams: bool = False
    """Whether it yields answers one after the other."""
    blocks: bool = False
    """Whether the call waits for its end; else it gives a Future."""
    phase: Phase | None = None
    """The phase of a step that its time counts to; None for a call that is in no phase."""
    needs_device: bool = True
    """Whether it touches weights; else nobody leaves a shared device for it."""


UNMARKED: Final = Remote()
_NAME: Final = "__remote__"


def remote(mark: Remote) -> Callable[[M], M]:
    """Mark a method of a role as one that may be called on a group of ranks, and how."""

    def keep(method: M) -> M:
        setattr(method, _NAME, mark)
        return method

    return keep


def mark_of(role: type, method: str) -> Remote | None:
    """Return the mark of a role's method; None where it has none."""
    return getattr(getattr(role, method, None), _NAME, None)


LEARN: Final = Remote(phase="learn")
"""Every rank gets the whole batch, and takes its share of each minibatch: minibatches are the same
on any number of ranks."""
SCORE: Final = Remote(deal="rows", join=rows, phase="score")
"""Rows are dealt; every rank answers for its own."""
KEEP: Final = Remote(blocks=True)
"""Every rank helps to gather or to take up weights; the call waits."""
