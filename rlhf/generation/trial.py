"""Trial: whether a backend's log-probabilities are those of whole forwards, on a run's prompts.

A few tokens are generated to rows of the run, in fewer slots than there are rows, with ends that
come early: prompts of unlike lengths, slots that are refilled, and texts as long as the run's
longest, on both sides of each window and context of the model on the way there. Log-probabilities
of the generation are then compared with a whole forward, and these with a forward of each row
alone: the second difference is that of the model's precision alone.

Axes: B rows, R response slots, P prompt tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlhf.algo.packing import pack_rows, response_targets, unpack
from rlhf.flow.rollout import Rollout, RolloutChunk, joined
from rlhf.flow.text import PromptBatch
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel

Write = Callable[[PromptBatch, Sampling], Iterator[RolloutChunk]]
NUM_PROMPTS, NUM_SLOTS, NUM_TOKENS = 5, 3, 12
"""Prompts used as they are, rows generated at a time, and most tokens of each."""
EARLY_STOPS = 20
"""One id in so many ends a row of a trial, so that about half of them end early."""
BEYOND_ITSELF = 4.0
"""A sampler may be so many times as far from a whole forward as that is from itself."""
BOUND = 20.0
"""Log-ratios are clamped to +- this before exp."""
FLOOR = {torch.float32: 3e-4, torch.bfloat16: 0.03}
"""Nats that are always allowed: kernels may agree with themselves to the bit."""
ROUNDINGS = 2.0
"""So many roundings of -log p are allowed too: a sampler rounds logits relative to the largest, and
training relative to the target's."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The difference of two ways to compute the same log-probabilities, in nats."""

    mean: float
    """Mean |difference| of all tokens."""
    worst_row: float
    """The largest of the rows' means."""
    k3: float
    """Mean over tokens of ratio - 1 - log ratio."""
    surprise: float
    """Mean -log p of the tokens, by the second of the two."""


def gap(one_BR: Tensor, other_BR: Tensor, mask_BR: Tensor) -> Gap:
    """Compare two tensors of log-probabilities over a mask; NaN counts as infinite."""
    log_ratio_BR = torch.where(mask_BR, other_BR - one_BR, 0.0).double()
    log_ratio_BR = log_ratio_BR.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    bounded_BR = log_ratio_BR.clamp(-BOUND, BOUND)
    k3_BR = bounded_BR.exp() - 1 - bounded_BR
    rows_B = log_ratio_BR.abs().sum(1) / mask_BR.sum(1)
    num_tokens = mask_BR.sum()
    return Gap(
        mean=float(log_ratio_BR.abs().sum() / num_tokens),
        worst_row=float(rows_B.max()),
        k3=float(k3_BR.sum() / num_tokens),
        surprise=float(-torch.where(mask_BR, other_BR, 0.0).sum() / num_tokens),
    )


def disagreement(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, write: Write
) -> str | None:
    """Generate a few rows; return how their log-probabilities are off a whole forward's, or None.

    Args:
        model: The model, with whole weights.
        prompts: Prompts of the run, at least one.
        how: The run's sampling settings.
        write: The backend: answers prompts with the model.
    """
    found, itself = gaps(model, prompts, how, write)
    dtype = _precision(model)
    least = FLOOR[dtype] + ROUNDINGS * torch.finfo(dtype).eps * found.surprise
    if found.worst_row <= least + BEYOND_ITSELF * itself.worst_row:
        return None
    return (
        f"its log-probabilities are {found.worst_row:.2g} nats a token off a whole forward "
        f"(which is {itself.worst_row:.2g} off itself in another batch)"
    )


@torch.no_grad()
def gaps(
    model: LanguageModel, prompts: PromptBatch, how: Sampling, write: Write
) -> tuple[Gap, Gap]:
    """Return the gaps of generation to a whole forward, and of that to each row's own forward."""
    temperature = how.temperature or 1.0
    rows, short = trial_rows(model, prompts, how)
    written = joined(write(rows, replace(short, temperature=temperature)))
    mask_BR = written.response_mask_BR
    whole_BR = whole_logprobs(model, written, temperature)
    alone_BR = torch.zeros_like(whole_BR)
    for row in range(len(written)):
        one = written.select([row])
        alone_BR[row] = whole_logprobs(model, one, temperature)[0]
    return gap(written.sampling_logprobs_BR, whole_BR, mask_BR), gap(whole_BR, alone_BR, mask_BR)


def trial_rows(
    model: LanguageModel, prompts: PromptBatch, how: Sampling
) -> tuple[PromptBatch, Sampling]:
    """Return the prompts of a trial, and how they are answered."""
    num_tokens = min(NUM_TOKENS, how.max_new_tokens)
    texts = _texts(prompts)
    longest = max(map(len, texts)) + how.max_new_tokens - num_tokens
    lengths = [edge - num_tokens // 2 for edge in edges(model.network.config.to_dict())]
    stretched = [n for n in [*lengths, longest] if max(map(len, texts)) < n <= longest]
    supply = [token for text in texts for token in text]
    # Twice, as a row may end with its first token, before the cache was read.
    texts += [(supply * (n // len(supply) + 1))[:n] for n in sorted(set(stretched)) * 2]
    texts = texts * 2 if len(texts) <= NUM_SLOTS else texts
    tokens_BP = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.long)
    for row, text in enumerate(texts):
        tokens_BP[row, : len(text)] = torch.tensor(text)
    vocabulary = int(model.network.config.get_text_config().vocab_size)
    asked = PromptBatch(
        tokens_BP=tokens_BP,
        lengths_B=torch.tensor([len(text) for text in texts]),
        sample_B=torch.arange(len(texts)),
        prompts=("",) * len(texts),
        columns=({},) * len(texts),
    )
    short = replace(
        how,
        max_new_tokens=num_tokens,
        batch_size=min(how.batch_size, NUM_SLOTS),
        stop_ids=tuple(range(0, vocabulary, EARLY_STOPS)),
    )
    return asked, short


def edges(config: Mapping[str, object]) -> list[int]:
    """Return the lengths beyond which a model's attention changes, by its config.

    Windows and chunks of attention, and the context that scaled rotary positions came from.
    """
    found: set[int] = set()
    for name, value in config.items():
        if isinstance(value, Mapping):
            found.update(edges(value))
        elif isinstance(value, int) and any(part in name for part in EDGES):
            found.add(int(value))
    return sorted(edge for edge in found if edge > 1)


EDGES = ("window", "chunk_size", "original_max_position")


def _texts(prompts: PromptBatch) -> list[list[int]]:
    """Return some of the prompts' tokens: the shortest, the longest, and some in between."""
    order = prompts.lengths_B.argsort(stable=True)
    places = torch.linspace(0, len(order) - 1, min(NUM_PROMPTS, len(order))).long()
    rows, lengths = prompts.tokens_BP.tolist(), prompts.lengths_B.tolist()
    return [rows[row][: lengths[row]] for row in order[places].tolist()]


@torch.no_grad()
def whole_logprobs(model: LanguageModel, rollout: Rollout, temperature: float) -> Tensor:
    """Return logprobs_BR, float32, by one training forward of all rows; 0 at padding."""
    rows = pack_rows(rollout.tokens_BT, rollout.lengths_B, packs=model.packs)
    device = model.network.device
    asked = [tensor.to(device) for tensor in response_targets(rollout, rows)]
    logprobs_N, _ = model(*asked, temperature, rows.to(device).position_ids_SW)
    return unpack(logprobs_N.cpu(), rollout.response_mask_BR)


def _precision(model: LanguageModel) -> torch.dtype:
    kind = model.network.device.type
    narrow = torch.is_autocast_enabled(kind) or model.network.dtype is torch.bfloat16
    return torch.bfloat16 if narrow else torch.float32
