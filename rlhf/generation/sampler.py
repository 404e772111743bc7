"""Sampler: prompts to responses, by the backend that fits the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlhf.flow.rollout import Piece
from rlhf.flow.text import PromptBatch
from rlhf.generation import continuous
from rlhf.generation.sampling import Sampling
from rlhf.generation.trial import WAYS, fitting_way
from rlhf.models.language_model import LanguageModel

NUM_PIECES = 4
"""A piece is given when so much of the rows has ended since the last one: a quarter."""
LEAST_ROWS = 8
"""Of a piece before the last: fewer are not worth a forward of their own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backend samples, and why."""

    backend: str
    """continuous, or one of the ways of `generation.trial`."""
    reason: str


def choose(model: LanguageModel, how: Sampling) -> Choice:
    """Return the backend: as configured, else the fastest that is right for the model.

    Args:
        model: Holds whole weights.
        how: Says which backend is wanted.
    """
    if how.backend == "padded":
        wanted = "generation.backend=padded"
    else:
        refused = continuous.refusal(model)
        if refused is None:
            return Choice("continuous", "the fastest that fits this model")
        wanted = f"continuous does not fit this model: {refused}"
    name, seen = fitting_way(model, how)
    return Choice(name, f"{wanted}; {seen}" if seen else wanted)


def sample(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int, backend: str
) -> Iterator[Piece]:
    """Answer the prompts; give rows that have ended while others are still being written.

    What is in a piece is set by the order in which the rows end, and not by the clock, so a run
    that is repeated or resumed has the same pieces.

    Args:
        model: Holds whole weights.
        prompts: To be answered; none, where a role has more ranks than there are rows.
        how: Length, temperature, stops.
        seed: Of the draws, together with each row's sample index and the position.
        backend: What `choose` chose.
    """
    if not len(prompts):
        return
    enough = max(LEAST_ROWS, -(-len(prompts) // NUM_PIECES))
    for written in BACKENDS[backend](model, prompts, how, seed):
        if written.num_to_take >= enough or written.is_done:
            yield written.take(prompts)


BACKENDS = {"continuous": continuous.write, **WAYS}
"""Every way to write, by name; all draw the same tokens."""
