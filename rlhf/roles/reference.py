"""Reference: a frozen language model that says how likely a response was.

Axes: B rows, R response tokens.
"""

from __future__ import annotations

from torch import Tensor

from rlhf.engine.base import Engine
from rlhf.flow.rollout import Experience, Rollout
from rlhf.roles.passes import laid_out, map_rows, response_targets, spread


class Reference:
    """A language model that judges."""

    def __init__(self, engine: Engine, *, temperature: float, max_tokens: int) -> None:
        """Judge at the sampling temperature, at most max_tokens computed a forward."""
        self.engine, self.temperature, self.max_tokens = engine, temperature, max_tokens

    def logprobs(self, rollout: Rollout) -> Tensor:
        """Return logprobs_BR, float32, of this rank's rows; 0 at padding."""
        logprobs_BR = map_rows(
            self.engine, rollout, rollout.lengths_B, self.max_tokens, self._logprobs
        )
        return logprobs_BR.reshape(len(rollout), rollout.sampling_logprobs_BR.shape[1])

    def _logprobs(self, batch: Rollout) -> Tensor:
        return self._logprobs_and_entropy(batch)[0]

    def _logprobs_and_entropy(self, batch: Rollout | Experience) -> tuple[Tensor, Tensor]:
        device = self.engine.world.device
        rows = laid_out(self.engine, batch.tokens_BT, batch.lengths_B)
        asked = [tensor.to(device) for tensor in response_targets(batch, rows)]
        position_ids_SW = rows.to(device).position_ids_SW
        logprobs_N, entropy_N = self.engine(*asked, self.temperature, position_ids_SW)
        mask_BR = batch.response_mask_BR.to(device)
        return spread(logprobs_N, mask_BR), spread(entropy_N, mask_BR)
