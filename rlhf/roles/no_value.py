"""NoValue: takes the place of the value role, for advantages that need none."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.flow.future import Ready
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout


class NoValue:
    """A baseline that is always 0 and learns nothing; no process is started for it."""

    def values(self, rollout: Rollout) -> Ready[Tensor]:
        """Return values_BR: zeros."""
        return Ready(torch.zeros_like(rollout.sampling_logprobs_BR))

    def improve(self, experience: Experience, step: int) -> Ready[Metrics]:
        """Return no metrics."""
        return Ready(Metrics())
