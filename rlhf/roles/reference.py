"""Reference: a frozen language model that scores how likely a response was.

Axes: B rows, R response tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.algo.packing import response_targets, unpack
from rlhf.engine.base import Engine
from rlhf.flow.future import Future
from rlhf.flow.rollout import Experience, Rollout
from rlhf.roles.passes import (
    Settings,
    filled_up,
    first_epoch,
    packed_rows,
    packs,
    run_chunks,
)
from rlhf.roles.ports import PolicyPort
from rlhf.roles.remote import Remote, numbered_rows, remote

LOGPROBS = Remote(join=numbered_rows, phase="score")
"""Every rank gets the whole rollout, and computes some microbatches of the update."""


class Reference:
    """A language model that returns log-probabilities of responses."""

    def __init__(self, engine: Engine, settings: Settings, *, temperature: float) -> None:
        """Score at the sampling temperature, in microbatches as configured in the settings."""
        self.engine, self.temperature, self._settings = engine, temperature, settings

    @remote(LOGPROBS)
    def step_logprobs(self, rollout: Rollout, step: int) -> tuple[Tensor, Tensor]:
        """Return (rows_N, logprobs_NR, float32) of a step's rollout, as its update computes them.

        bf16 rounds otherwise in another batch. So the rollout is cut as the update's first epoch
        will cut it, and each row is computed among the rows that it will be learned with: until
        the first update the ratio is 1, and the KL of equal weights 0, bit for bit.

        Args:
            rollout: The whole rollout; every rank has it.
            step: Step of the stage; seeds the minibatches.

        Returns:
            The rows this rank computed (int64), and their log-probabilities; 0 at padding.
        """
        world = self.engine.world
        all_chunks = first_epoch(rollout.lengths_B, step, self._settings, packs=packs(self.engine))
        chunks = all_chunks[world.rank :: world.size]
        most = -(-len(all_chunks) // world.size)
        answers = run_chunks(self.engine, rollout, filled_up(chunks, most), self._logprobs)
        if not chunks:
            return torch.zeros(0, dtype=torch.long), rollout.sampling_logprobs_BR[:0]
        return torch.cat(chunks), torch.cat(answers)

    def _logprobs(self, batch: Rollout) -> Tensor:
        return self._logprobs_and_entropy(batch)[0]

    def _logprobs_and_entropy(self, batch: Rollout | Experience) -> tuple[Tensor, Tensor]:
        device = self.engine.world.device
        rows = packed_rows(self.engine, batch.tokens_BT, batch.lengths_B)
        asked = [tensor.to(device) for tensor in response_targets(batch, rows)]
        position_ids_SW = rows.to(device).position_ids_SW
        logprobs_N, entropy_N = self.engine(*asked, self.temperature, position_ids_SW)
        mask_BR = batch.response_mask_BR.to(device)
        return unpack(logprobs_N, mask_BR), unpack(entropy_N, mask_BR)


class PolicyAsReference:
    """LanguageModelPort of a policy with adapters: its base weights are the reference."""

    def __init__(self, policy: PolicyPort) -> None:
        """Wrap the port of a policy that learns adapters."""
        self._policy = policy

    def step_logprobs(self, rollout: Rollout, step: int) -> Future[Tensor]:
        """Return logprobs_BR of the base weights."""
        return self._policy.reference_logprobs(rollout, step)
