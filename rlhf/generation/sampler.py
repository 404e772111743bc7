"""Sampler: prompts to responses, by the backend that fits the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

from rlhf.errors import ModelError
from rlhf.flow.rollout import RolloutChunk
from rlhf.flow.text import PromptBatch
from rlhf.generation import continuous, padded
from rlhf.generation.sampling import Sampling
from rlhf.generation.trial import disagreement
from rlhf.models.language_model import LanguageModel

NUM_CHUNKS = 4
"""A chunk is yielded when this share of the rows has ended since the last one."""
LEAST_ROWS = 8
"""Least rows of a chunk before the last: fewer are not worth a forward of their own."""
TRIAL_SEED = 0
TROUBLE = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)
"""Errors a network raises when it does not support a way of generation."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backend samples, and why."""

    backend: str
    """One of BACKENDS."""
    reason: str


def choose(model: LanguageModel, how: Sampling, prompts: PromptBatch) -> Choice:
    """Return the backend: as configured, else the fastest that is correct for the model.

    Each is tried on the prompts (`trial`) before it is chosen, the configured one too.

    Args:
        model: The model, with whole weights.
        how: Sampling settings; `backend` is the configured one.
        prompts: Prompts of the run, at least one.

    Raises:
        ModelError: when none is correct.
    """
    names = [name for name in BACKENDS if how.backend == "auto" or name != "continuous"]
    refused: dict[str, str] = {}
    for name in names:
        reason = _refusal(name, model, how, prompts)
        if reason is None:
            return Choice(name, _why(refused, how))
        refused[name] = reason
    reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    others = "" if how.backend == "auto" else "generation.backend=auto or "
    raise ModelError(
        f"generation.backend={how.backend}: no backend is correct for this "
        f"{type(model.network).__name__} ({reasons}); set {others}engine.precision=fp32, or use "
        "another model"
    )


def _why(refused: Mapping[str, str], how: Sampling) -> str:
    wanted = [] if how.backend == "auto" else [f"generation.backend={how.backend}"]
    others = [f"{name} does not fit this model: {why}" for name, why in refused.items()]
    return "; ".join(wanted + others) or "the fastest that fits this model"


def _refusal(name: str, model: LanguageModel, how: Sampling, prompts: PromptBatch) -> str | None:
    """Return why a backend is not correct for the model; None if it is."""
    known = continuous.refusal(model) if name == "continuous" else None
    if known is not None:
        return known

    def write(rows: PromptBatch, short: Sampling) -> Iterator[RolloutChunk]:
        return sample(model, rows, short, TRIAL_SEED, name)

    try:
        return disagreement(model, prompts, how, write)
    except torch.OutOfMemoryError:
        raise
    except TROUBLE as error:
        first_line = (str(error).strip() or repr(error)).splitlines()[0]
        return f"it fails with {type(error).__name__}: {first_line}"


def sample(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int, backend: str
) -> Iterator[RolloutChunk]:
    """Answer the prompts; yield rows that have ended while others are still being generated.

    The rows of a chunk depend on the order in which rows end, and not on the clock, so a run that
    is repeated or resumed has the same chunks.

    Args:
        model: The model, with whole weights.
        prompts: The prompts; none, where a role has more ranks than there are rows.
        how: Length, temperature, stops.
        seed: Seed of the draws, with each row's sample index and the position.
        backend: The backend that `choose` returned.
    """
    if not len(prompts):
        return
    enough = max(LEAST_ROWS, -(-len(prompts) // NUM_CHUNKS))
    for written in BACKENDS[backend](model, prompts, how, seed):
        if written.num_to_take >= enough or written.is_done:
            yield written.take(prompts)


BACKENDS = {
    "continuous": continuous.write,
    "padded": padded.write,
    "apart": padded.write_apart,
    "uncached": padded.write_uncached,
}
"""Every way to generate, by name, from the fastest to the one that is correct by construction.

All draw the same tokens.
"""
