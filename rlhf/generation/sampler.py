"""Sampler: prompts to responses, by the backend that fits the model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rlhf.flow.rollout import Rollout
from rlhf.flow.text import PromptBatch
from rlhf.generation import continuous, padded
from rlhf.generation.sampling import Sampling
from rlhf.generation.written import Written
from rlhf.models.language_model import LanguageModel


@dataclass(frozen=True, slots=True)
class Choice:
    """Which backend samples, and why."""

    backend: str
    """continuous or padded."""
    reason: str


def choose(model: LanguageModel, how: Sampling) -> Choice:
    """Return the backend: as configured, else the fastest that is right for the model.

    Args:
        model: Holds whole weights.
        how: Says which backend is wanted.
    """
    if how.backend == "padded":
        return Choice("padded", "generation.backend=padded")
    refused = continuous.refusal(model)
    if refused is None:
        return Choice("continuous", "the fastest that fits this model")
    return Choice("padded", f"continuous does not fit this model: {refused}")


def sample(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int, backend: str
) -> Rollout:
    """Answer the prompts, in their order.

    Args:
        model: Holds whole weights.
        prompts: To be answered; none, where a role has more ranks than there are rows.
        how: Length, temperature, stops.
        seed: Of the draws, together with each row's sample index and the position.
        backend: What `choose` chose.
    """
    if not len(prompts):
        return Written(0, how, torch.device("cpu")).rollout(prompts)
    return BACKENDS[backend](model, prompts, how, seed)


BACKENDS = {"continuous": continuous.sample, "padded": padded.sample}
"""Every way to write, by name; all draw the same tokens."""
