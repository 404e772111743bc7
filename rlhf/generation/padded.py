"""Generation by transformers' own `generate`, and without any cache: slower, for every model.

padded: rows are padded on the left and decoded until the last of them has ended. apart: rows of one
length at a time, without padding, for networks whose state would read it. uncached: the whole rows
are read again for every token, as training reads them. The draw is ours all the same: it depends on
(seed, sample index, position) alone.

Axes: B rows decoded together, N some of them, P prompt tokens, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from rlhf.algo.seeding import uniforms
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation.output_buffer import OutputBuffer
from rlhf.generation.sampling import Sampling, draw
from rlhf.models.language_model import LanguageModel


@torch.no_grad()
def write(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
) -> Iterator[OutputBuffer]:
    """Answer the prompts, those of like length together; yield the buffer after each lot."""
    order = prompts.lengths_B.argsort(stable=True)
    yield from _generated(model, prompts, how, seed, order.split(how.batch_size))


@torch.no_grad()
def write_apart(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
) -> Iterator[OutputBuffer]:
    """Answer the prompts, only those of one length together."""
    lots = [
        lot
        for length in prompts.lengths_B.unique()
        for lot in (prompts.lengths_B == length).nonzero().squeeze(-1).split(how.batch_size)
    ]
    yield from _generated(model, prompts, how, seed, lots)


@torch.no_grad()
def write_uncached(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
) -> Iterator[OutputBuffer]:
    """Answer the prompts, right-padded; every token takes a forward of the whole rows."""
    device = model.network.device
    written = OutputBuffer(len(prompts), how, device)
    for rows_B in prompts.lengths_B.argsort(stable=True).split(how.batch_size):
        some = prompts.select(rows_B)
        draws = _Draws(written, (rows_B, some.sample_B), how, seed)
        lengths_B = some.lengths_B.to(device)
        width = int(some.lengths_B.max())
        tokens_BT = torch.zeros(len(some), width + how.max_new_tokens, dtype=torch.long)
        tokens_BT[:, :width] = some.tokens_BP[:, :width]
        tokens_BT = tokens_BT.to(device)
        for position in range(how.max_new_tokens):
            if bool(written.has_ended_B[rows_B].all()):
                break
            read_BT = tokens_BT[:, : width + position]
            starts_B = torch.arange(len(some), device=device) * read_BT.shape[1]
            last_B = starts_B + lengths_B + position - 1
            drawn_B1 = draws.tokens(model.logits(read_BT, last_B, use_cache=False))[:, None]
            tokens_BT.scatter_(1, (lengths_B + position)[:, None], drawn_B1)
        yield written


def _generated(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int, lots: Iterable[Tensor]
) -> Iterator[OutputBuffer]:
    """Answer the prompts lot by lot, each padded on the left."""
    written = OutputBuffer(len(prompts), how, model.network.device)
    plain = GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=False,
        eos_token_id=list(how.stop_ids) or None,
        pad_token_id=0,
    )
    for rows_N in lots:
        some = prompts.select(rows_N)
        _generate(model, some, plain, _Draws(written, (rows_N, some.sample_B), how, seed))
        yield written


def _generate(
    model: LanguageModel, prompts: PromptBatch, plain: GenerationConfig, draws: _Draws
) -> None:
    network, device = model.network, model.network.device
    tokens_BP, mask_BP = _left_padded(prompts)
    # What `generate` is not given it takes from the folder's own settings: top-k, penalties.
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
    """A logits processor that draws the next token of every row and leaves only that one."""

    def __init__(
        self, written: OutputBuffer, who: tuple[Tensor, Tensor], how: Sampling, seed: int
    ) -> None:
        """Draw for the rows and sample indices of `who`."""
        self._written, (self._rows_B, self._sample_B) = written, who
        self._how, self._seed, self._position = how, seed, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores under which the drawn tokens are the likeliest."""
        del input_ids
        tokens_B = self.tokens(scores)
        return torch.full_like(scores, -torch.inf).scatter_(1, tokens_B[:, None], 0.0)

    def tokens(self, scores: Tensor) -> Tensor:
        """Return the drawn tokens_B, and store those of rows that have not ended."""
        uniform_B = uniforms(self._seed, self._sample_B.to(scores.device), self._position)
        tokens_B, logprobs_B = draw(scores, self._how.temperature, uniform_B, self._how.absent_ids)
        open_N = (~self._written.has_ended_B[self._rows_B]).nonzero().squeeze(-1)
        positions_N = torch.full_like(open_N, self._position)
        there_N = open_N.to(tokens_B.device)
        rows_N = self._rows_B[open_N]
        self._written.note(rows_N, positions_N, tokens_B[there_N], logprobs_B[there_N])
        self._position += 1
        return tokens_B


def _left_padded(prompts: PromptBatch) -> tuple[Tensor, Tensor]:
    width = int(prompts.lengths_B.max())
    real_BP = length_mask(prompts.lengths_B, width).flip(1)
    tokens_BP = torch.zeros(len(prompts), width, dtype=torch.long)
    tokens_BP[real_BP] = prompts.tokens_BP[
        length_mask(prompts.lengths_B, prompts.tokens_BP.shape[1])
    ]
    return tokens_BP, real_BP.long()
