"""What a stage may ask of the roles; groups of local or remote ranks answer, and it cannot tell.

Answers may be under way (`Promise`): ask several roles first, `settle` afterwards, and they work
at the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from rlhf.flow.metrics import Metrics
from rlhf.flow.promise import Eventually
from rlhf.flow.rollout import Experience, Piece, Rollout
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings


class Keeper(Protocol):
    """A role whose weights can be written down and taken up again."""

    def save(self, folder: Path) -> None:
        """Write the model as a plain Hugging Face folder."""
        ...

    def save_state(self, folder: Path) -> None:
        """Write weights and optimizer moments for a resume."""
        ...

    def load_state(self, folder: Path) -> None:
        """Take up what `save_state` wrote."""
        ...


class SamplerPort(Protocol):
    """Writes responses."""

    def generate(self, prompts: PromptBatch, step: int) -> Iterator[Piece]:
        """Answer the prompts, and give rows as they end; the step seeds the draws."""
        ...

    def sampler(self, prompts: PromptBatch) -> Eventually[str]:
        """Return how it writes, and why so; it is tried on some prompts of the run."""
        ...


class LanguageModelPort(Protocol):
    """Judges how likely a response was."""

    def step_logprobs(self, rollout: Rollout, step: int) -> Eventually[Tensor]:
        """Return logprobs_BR, float32, of a step's whole rollout at the sampling temperature.

        Rows are computed in the very microbatches of the step's first epoch.
        """
        ...


class PolicyPort(SamplerPort, LanguageModelPort, Keeper, Protocol):
    """The language model that learns."""

    def rehearse(self, prompts: PromptBatch) -> Eventually[str]:
        """Try on some prompts what PPO relies on, before anything is learned; return what was seen.

        Raises an error of ours where it does not hold.
        """
        ...

    def improve(
        self, experience: Experience, step: int, texts: Demonstrations | None = None
    ) -> Eventually[Metrics]:
        """Run the step's PPO epochs; the texts are for the PTX loss, a row a response."""
        ...

    def imitate(self, batch: Demonstrations) -> Eventually[Metrics]:
        """Take one SFT step."""
        ...

    def imitation_loss(self, batch: Demonstrations) -> Eventually[Metrics]:
        """Measure the SFT loss without learning."""
        ...


class RewardPort(Protocol):
    """The judge."""

    def score(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return score_B, float32: by model plus by function."""
        ...

    def score_by_model(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return the model's weighted score_B of any rows; 0 without a model."""
        ...

    def score_by_function(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return the function's weighted score_B of a whole batch; 0 without a function."""
        ...


class RankingPort(Keeper, Protocol):
    """A judge that learns from rankings."""

    def rank(self, batch: Rankings) -> Eventually[Metrics]:
        """Take one Bradley-Terry step."""
        ...

    def answer_scores(self, batch: Rankings) -> Eventually[Tensor]:
        """Return scores_BK, float32; 0 where an answer is absent."""
        ...

    def normalise(self, statistics: Mapping[str, float]) -> None:
        """Make scores with this `mean` and `std` have mean 0 and standard deviation 1."""
        ...


class BaselinePort(Protocol):
    """What the advantages are measured against."""

    def values(self, rollout: Rollout) -> Eventually[Tensor]:
        """Return values_BR, float32: the return expected before each response token."""
        ...

    def improve(self, experience: Experience, step: int) -> Eventually[Metrics]:
        """Fit the returns over the step's epochs."""
        ...


class ValuePort(BaselinePort, Keeper, Protocol):
    """A baseline that is a model."""
