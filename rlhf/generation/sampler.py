"""Batched ancestral sampling with a KV cache; finished rows leave the batch.

Axes: B rows, P prompt tokens (left-padded here, so that all rows end together), R response slots.
One forward a token for the whole batch and no Python work a row. The draw of a token depends on
(seed, sample index, position) alone: not on batch neighbours, chunking or rank.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache

from rlhf.algo.seeding import uniforms
from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to draw."""

    max_new_tokens: int
    temperature: float
    """0 picks the likeliest token."""
    batch_size: int
    stop_ids: tuple[int, ...]
    """A response ends with the first of these."""


@torch.no_grad()
def sample(network: PreTrainedModel, prompts: PromptBatch, how: Sampling, seed: int) -> Rollout:
    """Answer the prompts, in their order.

    Rows are decoded in groups of like prompt length, so that little is spent on padding.
    """
    order = prompts.lengths_B.argsort(stable=True)
    groups = [
        _decode(network, prompts.select(rows), how, seed) for rows in order.split(how.batch_size)
    ]
    return Rollout.concat(groups).select(order.argsort())


def _decode(network: PreTrainedModel, prompts: PromptBatch, how: Sampling, seed: int) -> Rollout:
    state = _Decoding(network, prompts, how, seed)
    for position in range(how.max_new_tokens):
        if not state.advance(position):
            break
    return _rollout(prompts, state)


class _Decoding:
    """The rows still being written, their cache, and everything written so far."""

    def __init__(
        self, network: PreTrainedModel, prompts: PromptBatch, how: Sampling, seed: int
    ) -> None:
        device = network.device
        self.network, self.how, self.seed = network, how, seed
        self.takes_positions = "position_ids" in inspect.signature(network.forward).parameters
        tokens_BP, self.mask_BT = _left_padded(prompts, device)
        self.inputs_BX, self.next_position_B = tokens_BP, prompts.lengths_B.to(device)
        self.cache, self.sample_B = DynamicCache(config=network.config), prompts.sample_B.to(device)
        self.rows_B = torch.arange(len(prompts), device=device)
        slots = (len(prompts), how.max_new_tokens)
        self.tokens_BR = torch.zeros(slots, dtype=torch.long, device=device)
        self.logprobs_BR = torch.zeros(slots, dtype=torch.float32, device=device)
        self.lengths_B = torch.full((len(prompts),), how.max_new_tokens, device=device)
        self.finished_B = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        self.stops = torch.tensor(how.stop_ids, dtype=torch.long, device=device)

    def advance(self, position: int) -> bool:
        """Write one token to every open row; return whether any row is still open."""
        uniform_B = uniforms(self.seed, self.sample_B, position)
        chosen_B, logprobs_B = draw(self._next_logits(), self.how.temperature, uniform_B)
        self.tokens_BR[self.rows_B, position] = chosen_B
        self.logprobs_BR[self.rows_B, position] = logprobs_B
        stopped_B = torch.isin(chosen_B, self.stops)
        self.lengths_B[self.rows_B[stopped_B]] = position + 1
        self.finished_B[self.rows_B[stopped_B]] = True
        self.inputs_BX = chosen_B[:, None]
        self.mask_BT = torch.cat([self.mask_BT, self.mask_BT.new_ones(len(self.rows_B), 1)], dim=1)
        self._drop(stopped_B)
        return len(self.rows_B) > 0

    def _next_logits(self) -> Tensor:
        options: dict[str, Any] = {}
        if self.takes_positions:
            offsets_X = torch.arange(self.inputs_BX.shape[1], device=self.inputs_BX.device)
            positions_BX = self.next_position_B[:, None] - self.inputs_BX.shape[1] + offsets_X
            options["position_ids"] = positions_BX.clamp(min=0)
        self.next_position_B = self.next_position_B + 1
        output = self.network(
            input_ids=self.inputs_BX,
            attention_mask=self.mask_BT,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
            **options,
        )
        return output.logits[:, -1]

    def _drop(self, stopped_B: Tensor) -> None:
        """Let finished rows go, so that no forward is spent on them."""
        if not bool(stopped_B.any()):
            return
        open_B = (~stopped_B).nonzero().squeeze(-1)
        self.rows_B, self.sample_B = self.rows_B[open_B], self.sample_B[open_B]
        self.inputs_BX, self.mask_BT = self.inputs_BX[open_B], self.mask_BT[open_B]
        self.next_position_B = self.next_position_B[open_B]
        if len(open_B):
            self.cache.batch_select_indices(open_B)


def draw(logits_BV: Tensor, temperature: float, uniform_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return (tokens_B, logprobs_B float32) by inverting the distribution function at uniform_B.

    Temperature 0 takes the likeliest token and reports its log-probability at temperature 1.
    """
    logprobs_BV = (logits_BV.float() / (temperature or 1.0)).log_softmax(-1)
    if temperature == 0.0:
        chosen_B = logits_BV.argmax(-1)
    else:
        cumulative_BV = logprobs_BV.double().exp().cumsum(-1)
        threshold_B1 = uniform_B[:, None] * cumulative_BV[:, -1:]
        chosen_B = torch.searchsorted(cumulative_BV, threshold_B1, right=True).squeeze(-1)
        chosen_B = chosen_B.clamp(max=logits_BV.shape[1] - 1)
    return chosen_B, logprobs_BV.gather(-1, chosen_B[:, None]).squeeze(-1)


def _left_padded(prompts: PromptBatch, device: torch.device) -> tuple[Tensor, Tensor]:
    width = int(prompts.lengths_B.max())
    real_BP = length_mask(prompts.lengths_B, width).flip(1)
    tokens_BP = torch.zeros(len(prompts), width, dtype=torch.long)
    tokens_BP[real_BP] = prompts.tokens_BP[
        length_mask(prompts.lengths_B, prompts.tokens_BP.shape[1])
    ]
    return tokens_BP.to(device), real_BP.long().to(device)


def _rollout(prompts: PromptBatch, state: _Decoding) -> Rollout:
    lengths_B = state.lengths_B.cpu()
    width = int(lengths_B.max())
    written_BR = length_mask(lengths_B, width)
    tokens_BT = torch.zeros(len(prompts), prompts.tokens_BP.shape[1] + width, dtype=torch.long)
    tokens_BT[:, : prompts.tokens_BP.shape[1]] = prompts.tokens_BP
    columns_BR = prompts.lengths_B[:, None] + torch.arange(width)
    responses_BR = torch.where(written_BR, state.tokens_BR[:, :width].cpu(), 0)
    tokens_BT.scatter_(1, columns_BR, responses_BR)
    return Rollout(
        tokens_BT=tokens_BT,
        prompt_lengths_B=prompts.lengths_B,
        response_lengths_B=lengths_B,
        finished_B=state.finished_B.cpu(),
        sampling_logprobs_BR=state.logprobs_BR[:, :width].cpu(),
        prompts=prompts.prompts,
        columns=prompts.columns,
    )
