"""Padded generation by transformers' own `generate`: slower, and works for nearly every model.

Rows are padded on the left and decoded until the last of them has ended. The draw is ours all the
same: it depends on (seed, sample index, position) alone.

Axes: B rows decoded together, N some of them, P prompt tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rlhf.algo.seeding import uniforms
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampling import Sampling, draw
from rlhf.generation.written import Written
from rlhf.models.language_model import LanguageModel


@torch.no_grad()
def write(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
) -> Iterator[Written]:
    """Answer the prompts, those of like length together; show what is written after each lot."""
    written = Written(len(prompts), how, model.network.device)
    order = prompts.lengths_B.argsort(stable=True)
    plain = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=False,
        eos_token_id=list(how.stop_ids) or None,
        pad_token_id=0,
    )
    for rows_N in order.split(how.batch_size):
        some = prompts.select(rows_N)
        draws = _Draws(written, (rows_N, some.sample_B), how.temperature, seed)
        _generate(model, some, plain, draws)
        yield written


def _generate(
    model: LanguageModel, prompts: PromptBatch, plain: GenerationConfig, draws: _Draws
) -> None:
    network, device = model.network, model.network.device
    tokens_BP, mask_BP = _left_padded(prompts)
    # What `generate` is not told it takes from the folder's own settings: top-k, penalties.
    own, network.generation_config = network.generation_config, plain
    try:
        with model.products():
            network.generate(  # type: ignore[operator]
                tokens_BP.to(device),
                attention_mask=mask_BP.to(device),
                logits_processor=LogitsProcessorList([draws]),
            )
    finally:
        network.generation_config = own


class _Draws(LogitsProcessor):
    """Draws the next token of every row, and leaves `generate` no other choice."""

    def __init__(
        self, written: Written, who: tuple[Tensor, Tensor], temperature: float, seed: int
    ) -> None:
        """Write for the rows and sample indices of `who`."""
        self._written, (self._rows_B, self._sample_B) = written, who
        self._temperature, self._seed, self._position = temperature, seed, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores by which the drawn tokens are the likeliest."""
        uniform_B = uniforms(self._seed, self._sample_B.to(scores.device), self._position)
        tokens_B, logprobs_B = draw(scores, self._temperature, uniform_B)
        open_N = (~self._written.has_ended_B[self._rows_B]).nonzero().squeeze(-1)
        positions_N = torch.full_like(open_N, self._position)
        there_N = open_N.to(tokens_B.device)
        rows_N = self._rows_B[open_N]
        self._written.note(rows_N, positions_N, tokens_B[there_N], logprobs_B[there_N])
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
