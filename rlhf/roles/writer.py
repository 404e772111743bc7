"""Writer: a language model that answers prompts, frozen or (as the policy) between its updates."""

from __future__ import annotations

from rlhf.algo.seeding import derive_seed
from rlhf.engine.base import Engine
from rlhf.flow.rollout import Rollout
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampler import Sampling, sample
from rlhf.roles.reference import Reference


class Writer(Reference):
    """A language model that writes, and judges what was written."""

    def __init__(self, engine: Engine, sampling: Sampling, *, seed: int, max_tokens: int) -> None:
        """Draw as `sampling` says, seeded by (seed, step, sample, position)."""
        super().__init__(engine, temperature=sampling.temperature, max_tokens=max_tokens)
        self._sampling, self._run_seed = sampling, seed

    def generate(self, prompts: PromptBatch, step: int) -> Rollout:
        """Answer this rank's prompts with the weights the engine holds: no copy, no server."""
        seed = derive_seed(self._run_seed, "generate", step)
        with self.engine.gathered() as model:
            return sample(model.network, prompts, self._sampling, seed)  # type: ignore[arg-type]
