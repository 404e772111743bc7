"""The calls a stage may make on the roles, alike for groups of local and of remote ranks.

An answer may be a `Future`: call several roles first and take the results afterwards, and they work
at the same time. Calls that save or load weights return when they are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from rlhf.flow.future import Future
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, RolloutChunk
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings

if TYPE_CHECKING:
    from rlhf.roles.precision_probe import Verdict


class Resumable(Protocol):
    """Something whose state is a part of every checkpoint."""

    def save_state(self, folder: Path) -> None:
        """Save all that a resume needs; a role its weights and optimizer moments."""
        ...

    def load_state(self, folder: Path) -> None:
        """Restore what `save_state` saved."""
        ...


class Checkpointable(Resumable, Protocol):
    """A role whose weights can be saved and restored."""

    def save(self, folder: Path) -> None:
        """Save the model as a plain Hugging Face folder."""
        ...


class SamplerPort(Protocol):
    """Generates responses."""

    def generate(self, prompts: PromptBatch, step: int) -> Iterator[RolloutChunk]:
        """Answer the prompts, and yield rows as they end; the step seeds the draws."""
        ...

    def chosen_backend(self, prompts: PromptBatch) -> Future[str]:
        """Return the generation backend and why it was chosen, by a trial on these prompts."""
        ...


class LanguageModelPort(Protocol):
    """Scores how likely a response was."""

    def step_logprobs(self, rollout: Rollout, step: int) -> Future[Tensor]:
        """Return logprobs_BR, float32, of a step's whole rollout at the sampling temperature.

        Rows are computed in the same microbatches as in the step's first epoch.
        """
        ...


class SFTPolicyPort(SamplerPort, Checkpointable, Protocol):
    """A language model that learns from demonstrations."""

    def imitate(self, batch: Demonstrations) -> Future[Metrics]:
        """Take one SFT step."""
        ...

    def imitation_loss(self, batch: Demonstrations) -> Future[Metrics]:
        """Measure the SFT loss without learning."""
        ...


class PolicyPort(SFTPolicyPort, LanguageModelPort, Protocol):
    """The language model that PPO improves."""

    def reference_logprobs(self, rollout: Rollout, step: int) -> Future[Tensor]:
        """Return logprobs_BR of the base weights: where only adapters learn, the reference's."""
        ...

    def rehearse(self, prompts: PromptBatch) -> Future[str]:
        """Check on some prompts what PPO relies on, before anything is learned; return a report.

        Raises ModelError or TrainingError where it does not hold.
        """
        ...

    def improve(
        self, experience: Experience, step: int, texts: Demonstrations | None = None
    ) -> Future[Metrics]:
        """Run the step's PPO epochs; the texts are for the PTX loss, a row a response."""
        ...


class RewardPort(Protocol):
    """The sources of the reward, each with a column of its own; nothing is weighted here."""

    def score_rows(self, rollout: Rollout) -> Future[Tensor]:
        """Return by_rows_BC, float32, of any rows: the sources that score rows by themselves."""
        ...

    def score_batch(self, rollout: Rollout) -> Future[Tensor]:
        """Return by_batch_BC, float32, of a whole batch: the sources that need all of it."""
        ...


class RankingPort(Checkpointable, Protocol):
    """A reward model that learns from rankings."""

    def rank(self, batch: Rankings) -> Future[Metrics]:
        """Take one Bradley-Terry step."""
        ...

    def answer_scores(self, batch: Rankings) -> Future[Tensor]:
        """Return scores_BK, float32; 0 where an answer is absent."""
        ...

    def normalize(self, statistics: Mapping[str, float]) -> None:
        """Make scores with this `mean` and `std` have mean 0 and standard deviation 1."""
        ...


class BaselinePort(Protocol):
    """The baseline that advantages are measured against."""

    def values(self, rollout: Rollout) -> Future[Tensor]:
        """Return values_BR, float32: the return expected before each response token."""
        ...

    def improve(self, experience: Experience, step: int) -> Future[Metrics]:
        """Fit the returns over the step's epochs."""
        ...


class ValuePort(BaselinePort, Checkpointable, Protocol):
    """A baseline that is a model."""


class PrecisionPort(Protocol):
    """Compares both precisions on a model."""

    def measure(self, texts: PromptBatch) -> Future[Verdict]:
        """Return the precision that `auto` means for the model, by some texts of the run."""
        ...
