"""Padded generation by transformers' own `generate`: slower, and works for nearly every model.

Rows are padded on the left and decoded until the last of them has ended. The draw is ours all the
same: it depends on (seed, sample index, position) alone.

Axes: B rows, P prompt tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rlhf.algo.seeding import uniforms
from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampling import Sampling, draw
from rlhf.generation.written import Written
from rlhf.models.language_model import LanguageModel


@torch.no_grad()
def sample(model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int) -> Rollout:
    """Answer the prompts, in their order; rows of like prompt length are decoded together."""
    order = prompts.lengths_B.argsort(stable=True)
    groups = [
        _generate(model, prompts.select(rows), how, seed) for rows in order.split(how.batch_size)
    ]
    return Rollout.concat(groups).select(order.argsort())


def _generate(model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int) -> Rollout:
    network, device = model.network, model.network.device
    tokens_BP, mask_BP = _left_padded(prompts)
    draws = _Draws(prompts.sample_B.to(device), how, seed)
    plain = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=False,
        eos_token_id=list(how.stop_ids) or None,
        pad_token_id=0,
    )
    # What `generate` is not told it takes from the folder's own settings: top-k, penalties.
    own, network.generation_config = network.generation_config, plain
    try:
        network.generate(  # type: ignore[operator]
            tokens_BP.to(device),
            attention_mask=mask_BP.to(device),
            logits_processor=LogitsProcessorList([draws]),
        )
    finally:
        network.generation_config = own
    return draws.written.rollout(prompts)


class _Draws(LogitsProcessor):
    """Draws the next token of every row, and leaves `generate` no other choice."""

    def __init__(self, sample_B: Tensor, how: Sampling, seed: int) -> None:
        self.written = Written(len(sample_B), how, sample_B.device)
        self._sample_B, self._how, self._seed, self._position = sample_B, how, seed, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores by which the drawn tokens are the likeliest."""
        uniform_B = uniforms(self._seed, self._sample_B, self._position)
        tokens_B, logprobs_B = draw(scores, self._how.temperature, uniform_B)
        open_B = (~self.written.has_ended_B).nonzero().squeeze(-1)
        positions_B = torch.full_like(open_B, self._position)
        there_B = open_B.to(tokens_B.device)
        self.written.note(open_B, positions_B, tokens_B[there_B], logprobs_B[there_B])
        self._position += 1
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens_B[:, None], 0.0)


def _left_padded(prompts: PromptBatch) -> tuple[Tensor, Tensor]:
    width = int(prompts.lengths_B.max())
    real_BP = length_mask(prompts.lengths_B, width).flip(1)
    tokens_BP = torch.zeros(len(prompts), width, dtype=torch.long)
    tokens_BP[real_BP] = prompts.tokens_BP[
        length_mask(prompts.lengths_B, prompts.tokens_BP.shape[1])
    ]
    return tokens_BP, real_BP.long()
