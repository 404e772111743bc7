"""How a role runs its engine over many rows: cut by tokens, equally often on every rank.

Axes: B rows, T tokens, N chosen positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from rlhf.algo.minibatch import microbatches, minibatch_rows, sharded_microbatches
from rlhf.algo.packing import PackedRows, pack_rows
from rlhf.config.stages import PPOConfig
from rlhf.engine.base import Engine
from rlhf.flow.tensors import TensorBatch, in_row_order

B = TypeVar("B", bound=TensorBatch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Batch sizes, epochs, seed and lengths, as a role that learns needs them."""

    ppo: PPOConfig
    seed: int
    """Seed of the run."""
    precision: str
    """fp32 or bf16."""
    longest_response: int
    """generation.max_new_tokens."""
    max_tokens: int
    """Tokens of one forward pass, padding included."""
    policy_ranks: int
    """Ranks over which the policy's minibatches are dealt."""


def minibatches(num_rows: int, step: int, settings: Settings) -> Iterator[Tensor]:
    """Yield the row indices of every minibatch of a step's epochs; each epoch is shuffled anew.

    Policy and value get the same minibatches.
    """
    for epoch in range(settings.ppo.num_epochs):
        yield from minibatches_of(num_rows, step, epoch, settings)


def minibatches_of(num_rows: int, step: int, epoch: int, settings: Settings) -> list[Tensor]:
    """Return the row indices of every minibatch of one epoch of a step."""
    key = (settings.seed, "minibatches", step, epoch)
    return minibatch_rows(num_rows, settings.ppo.minibatch_size, key)


def first_epoch(lengths_B: Tensor, step: int, settings: Settings, *, packs: bool) -> list[Tensor]:
    """Return every microbatch of a step's first epoch, over all minibatches and policy ranks.

    Args:
        lengths_B: Tokens a row of the step, int64.
        step: Step of the stage.
        settings: The policy's settings.
        packs: Whether rows may share a bin.
    """
    return [
        rows[chunk]
        for rows in minibatches_of(len(lengths_B), step, 0, settings)
        for chunks in sharded_microbatches(
            lengths_B[rows], settings.policy_ranks, settings.max_tokens, packs=packs
        )
        for chunk in chunks
    ]


def map_rows(
    engine: Engine, batch: B, lengths_B: Tensor, max_tokens: int, run: Callable[[B], Tensor]
) -> Tensor:
    """Return run's answers for all rows, in their order, without gradients.

    Sharded weights are gathered by every forward, so ranks must run equally often: a rank with
    fewer microbatches runs the smallest possible input in their place.
    """
    chunks = microbatches(lengths_B, max_tokens, packs=packs(engine))
    # Counted first: a rank that did so after its last forward would meet another's gather.
    most = int(engine.world.largest(len(chunks)))
    answers = run_chunks(engine, batch, filled_up(chunks, most), run)
    if not answers:
        return torch.zeros(0, 0)
    return in_row_order(answers, chunks)


def filled_up(chunks: list[Tensor], num: int) -> list[Tensor]:
    """Return microbatches with empty ones appended, so that ranks run equally often."""
    return chunks + [torch.zeros(0, dtype=torch.long)] * (num - len(chunks))


@torch.no_grad()
def run_chunks(
    engine: Engine, batch: B, chunks: list[Tensor], run: Callable[[B], Tensor]
) -> list[Tensor]:
    """Return run's answer for the rows of each microbatch that has any, without gradients.

    For an empty microbatch the engine runs the smallest possible input.
    """
    answers: list[Tensor] = []
    for rows in chunks:
        if len(rows):
            answers.append(run(batch.select(rows)).cpu())
        else:
            engine(*engine.module.example_inputs())  # type: ignore[operator]
    return answers


def packs(engine: Engine) -> bool:
    """Return whether rows may share a bin; not if the model mixes the texts in one."""
    return bool(engine.module.packs)


def packed_rows(engine: Engine, tokens_BT: Tensor, lengths_B: Tensor) -> PackedRows:
    """Return right-padded rows as the engine's model reads them; still on their own device."""
    return pack_rows(tokens_BT, lengths_B, packs=packs(engine))
