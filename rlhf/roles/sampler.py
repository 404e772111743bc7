"""Sampler: a language model that answers prompts, frozen or (as the policy) between updates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from rlhf.algo.seeding import derive_seed
from rlhf.engine.base import Engine
from rlhf.flow.rollout import RolloutChunk
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampler import Choice, choose, sample
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from rlhf.roles.passes import Settings
from rlhf.roles.reference import Reference
from rlhf.roles.remote import Remote, chunks, remote


class Sampler(Reference):
    """A language model that generates responses, and scores how likely they were."""

    def __init__(self, engine: Engine, sampling: Sampling, settings: Settings) -> None:
        """Sample by `sampling`; draws are seeded by (seed of the run, step, sample, position)."""
        super().__init__(engine, settings, temperature=sampling.temperature)
        self._sampling = sampling
        self._choice: Choice | None = None

    @remote(Remote(deal="rows", join=chunks, streams=True, phase="generate"))
    def generate(self, prompts: PromptBatch, step: int) -> Iterator[RolloutChunk]:
        """Answer this rank's prompts with the weights the engine holds: no copy, no server.

        Rows are yielded as they end, some at a time; `rows_B` indexes this rank's prompts.
        """
        seed = derive_seed(self._settings.seed, "generate", step)
        with self.engine.gathered() as model:
            if not len(prompts):
                return
            backend = self._chosen(cast("LanguageModel", model), prompts).backend
            yield from sample(cast("LanguageModel", model), prompts, self._sampling, seed, backend)

    @remote(Remote())
    def chosen_backend(self, prompts: PromptBatch) -> str:
        """Return the backend and why it was chosen; the first call tries them on the prompts.

        Raises:
            ModelError: when none is correct for the model.
        """
        with self.engine.gathered() as model:
            choice = self._chosen(cast("LanguageModel", model), prompts)
        return f"{choice.backend}, {choice.reason}"

    def _chosen(self, model: LanguageModel, prompts: PromptBatch) -> Choice:
        if self._choice is None:
            self._choice = choose(model, self._sampling, prompts)
        return self._choice
