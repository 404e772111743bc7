"""Continuous batching: rows that end free their slots for prompts still waiting.

Each different prompt is read once, whatever number of responses it gets. Live rows stand side by
side in the first slots of the cache; the draw of a token depends on (seed, sample index, position)
alone, not on the slot, the neighbours or the rank.

Axes: B rows of the whole batch, N live rows, U different prompts, P prompt tokens, R response
slots, S cache columns, V vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from rlhf.algo.seeding import uniforms
from rlhf.engine.memory import free_bytes
from rlhf.engine.world import num_ranks
from rlhf.flow.text import PromptBatch
from rlhf.generation.masks import layer_types
from rlhf.generation.output_buffer import OutputBuffer
from rlhf.generation.prepacked import prepacked
from rlhf.generation.sampling import Sampling, draw
from rlhf.generation.slots import SlotCache, bytes_a_row, slots_that_fit
from rlhf.generation.steps import Steps
from rlhf.models.language_model import LanguageModel

SHARE_TO_REFILL = 8
"""New rows are read when at least one slot in so many is free."""
KNOWN_LAYERS = {"full_attention", "sliding_attention"}


def refusal(model: LanguageModel) -> str | None:
    """Return why this model's class cannot be decoded so; None if it may be."""
    config = model.network.config.get_text_config()
    unknown = set(layer_types(config)) - KNOWN_LAYERS
    if unknown:
        return f"its layers are {', '.join(sorted(unknown))}"
    if "position_ids" not in inspect.signature(model.network.forward).parameters:
        return "it takes no position_ids"
    return None


@torch.no_grad()
def write(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
) -> Iterator[OutputBuffer]:
    """Answer the prompts; yield the output buffer after every token of the live rows."""
    decoding = _Decoding(model, prompts, how, seed)
    with prepacked(model.network, decoding.spare):
        while decoding.is_open:
            decoding.admit()
            decoding.advance()
            yield decoding.written


class _Decoding:
    """The rows being generated, those still waiting, and the cache."""

    def __init__(
        self, model: LanguageModel, prompts: PromptBatch, how: Sampling, seed: int
    ) -> None:
        device = model.network.device
        self.model, self.prompts, self.how, self.seed = model, prompts, how, seed
        self.written = OutputBuffer(len(prompts), how, device)
        self.waiting = prompts.lengths_B.argsort(descending=True, stable=True)
        self.prompt_of_B = _same_prompts(prompts)
        config = model.network.config.get_text_config()
        capacity = int(prompts.lengths_B.max()) + how.max_new_tokens
        wanted, free = min(how.batch_size, len(prompts)), free_bytes(device.type)
        self.num_slots = slots_that_fit(wanted, config, capacity, free)
        self.spare = free / num_ranks() - self.num_slots * bytes_a_row(config, capacity)
        """Bytes that are free beside the cache, if all ranks are on one host."""
        num_layers = len(layer_types(config))
        self.cache = SlotCache(num_layers, self.num_slots, capacity)
        self.step = Steps(model, self.cache, rounded=device.type == "cuda")
        self.rows_N = torch.zeros(0, dtype=torch.long)
        """Which row of the batch each live slot holds; CPU, as are lengths."""
        self.lengths_N = torch.zeros(0, dtype=torch.long)
        """Tokens of each live row that the cache holds."""
        self.tokens_N = torch.zeros(0, dtype=torch.long, device=device)
        """The last token of each live row, which the cache does not hold yet."""

    @property
    def is_open(self) -> bool:
        """Whether any row has not ended."""
        return len(self.rows_N) > 0 or len(self.waiting) > 0

    def admit(self) -> None:
        """Read waiting prompts into the free slots, if there are enough of both."""
        free = self.num_slots - len(self.rows_N)
        enough = max(1, min(self.num_slots // SHARE_TO_REFILL, len(self.waiting)))
        if not len(self.waiting) or free < enough:
            return
        rows_N, self.waiting = self.waiting[:free], self.waiting[free:]
        logits_NV = self._read(rows_N)
        self.rows_N = torch.cat([self.rows_N, rows_N])
        self.lengths_N = torch.cat([self.lengths_N, self.prompts.lengths_B[rows_N]])
        new_N = self._write(rows_N, logits_NV, torch.zeros_like(rows_N))
        self.tokens_N = torch.cat([self.tokens_N, new_N])
        self._drop()

    def advance(self) -> None:
        """Add one token to every live row."""
        if not len(self.rows_N):
            return
        positions_N = self.lengths_N - self.prompts.lengths_B[self.rows_N] + 1
        columns_N = self.lengths_N.to(self.tokens_N.device)
        logits_NV = self.step(self.tokens_N, columns_N, int(self.lengths_N.max()) + 1)
        self.lengths_N = self.lengths_N + 1
        self.tokens_N = self._write(self.rows_N, logits_NV, positions_N)
        self._drop()

    def _read(self, rows_N: Tensor) -> Tensor:
        """Run the different prompts of some rows; return the logits after each row's prompt."""
        device = self.tokens_N.device
        _, first_U, source_N = _unique(self.prompt_of_B[rows_N])
        chosen_U = rows_N[first_U]
        lengths_U = self.prompts.lengths_B[chosen_U]
        tokens_UP = self.prompts.tokens_BP[chosen_U, : int(lengths_U.max())]
        start = len(self.rows_N)
        slots_N = torch.arange(start, start + len(rows_N), device=device)
        self.cache.prefill(slots_N, source_N.to(device))
        last_U = (torch.arange(len(chosen_U)) * tokens_UP.shape[1] + lengths_U - 1).to(device)
        logits_UV = self.model.logits(
            tokens_UP.to(device), last_U, past_key_values=self.cache, use_cache=True
        )
        return logits_UV[source_N.to(device)]

    def _write(self, rows_N: Tensor, logits_NV: Tensor, positions_N: Tensor) -> Tensor:
        """Draw a token for each row at its position, and store it; return the tokens."""
        device = logits_NV.device
        sample_N = self.prompts.sample_B[rows_N].to(device)
        uniform_N = uniforms(self.seed, sample_N, positions_N.to(device))
        tokens_N, logprobs_N = draw(logits_NV, self.how.temperature, uniform_N, self.how.absent_ids)
        self.written.note(rows_N, positions_N, tokens_N, logprobs_N)
        return tokens_N

    def _drop(self) -> None:
        """Remove rows that have ended; the last rows move into their slots."""
        ended_N = self.written.has_ended_B[self.rows_N]
        if not bool(ended_N.any()):
            return
        num_left = int((~ended_N).sum())
        holes = ended_N[:num_left].nonzero().squeeze(-1)
        movers = (~ended_N[num_left:]).nonzero().squeeze(-1) + num_left
        order = torch.arange(num_left)
        order[holes] = movers
        if len(holes):
            self.cache.width = int(self.lengths_N.max())
            self.cache.move(movers.to(self.tokens_N.device), holes.to(self.tokens_N.device))
        self.rows_N, self.lengths_N = self.rows_N[order], self.lengths_N[order]
        self.tokens_N = self.tokens_N[order.to(self.tokens_N.device)]


def _same_prompts(prompts: PromptBatch) -> Tensor:
    """Return an id for each row, the same for rows of the same prompt."""
    rows = zip(prompts.tokens_BP.tolist(), prompts.lengths_B.tolist(), strict=True)
    numbers: dict[tuple[int, ...], int] = {}
    return torch.tensor([numbers.setdefault(tuple(r[:n]), len(numbers)) for r, n in rows])


def _unique(x_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return (values_U, where each first stands, which of them each x is)."""
    values_U, source_N = x_N.unique(return_inverse=True)
    first_U = torch.full_like(values_U, len(x_N))
    first_U.scatter_reduce_(0, source_N, torch.arange(len(x_N)), "amin")
    return values_U, first_U, source_N
