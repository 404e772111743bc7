"""Mix: the one place where the scores of several sources become one.

Axes: B rows, C sources of the reward.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from rlhf.rewards.sources import RewardSource


@dataclass(frozen=True)
class Mix:
    """The sources of a reward, whose weighted sum it is."""

    sources: tuple[RewardSource, ...]

    @property
    def names(self) -> list[str]:
        """The sources' names, in their order."""
        return [source.name for source in self.sources]

    @property
    def described(self) -> str:
        """The sum in words: `1 x reward model RUN/reward_model + 0.5 x function reward.py:f`."""
        return " + ".join(source.term for source in self.sources)

    @property
    def models(self) -> list[Path]:
        """The reward models among them, in their order."""
        return [Path(source.model) for source in self.sources if source.model is not None]

    @cached_property
    def by_rows(self) -> tuple[RewardSource, ...]:
        """The sources that score each row by itself."""
        return tuple(source for source in self.sources if source.sees == "rows")

    @cached_property
    def by_batch(self) -> tuple[RewardSource, ...]:
        """The sources that score a whole batch."""
        return tuple(source for source in self.sources if source.sees == "batch")

    def parts(self, by_rows_BC: Tensor, by_batch_BC: Tensor) -> Tensor:
        """Return parts_BC, what each source said, in the sources' order.

        Args:
            by_rows_BC: Scores of `by_rows`, a column each.
            by_batch_BC: Scores of `by_batch`, a column each.
        """
        asked = [*self.by_rows, *self.by_batch]
        order = [asked.index(source) for source in self.sources]
        return torch.cat([by_rows_BC, by_batch_BC], 1)[:, order]

    def total(self, parts_BC: Tensor) -> Tensor:
        """Return score_B, float32: the sum of each source's score times its weight."""
        score_B = torch.zeros(len(parts_BC))
        for source, part_B in zip(self.sources, parts_BC.unbind(1), strict=True):
            score_B = score_B + source.weight * part_B
        return score_B
