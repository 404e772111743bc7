"""Trial: which of the padded ways of writing gives the log-probabilities that training will see.

Left padding is read by networks that carry a state along the row, and a cache by some families is
not what a full forward is. Names do not tell, so a few ragged rows are written and read again.

Axes: B rows, R response tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from rlhf.flow.text import PromptBatch
from rlhf.generation import padded
from rlhf.generation.sampling import Sampling
from rlhf.generation.written import Written
from rlhf.models.families import context_of
from rlhf.models.language_model import LanguageModel
from rlhf.models.packing import trial_tokens

Write = Callable[[LanguageModel, PromptBatch, Sampling, int], Iterator[Written]]

WAYS: dict[str, Write] = {
    "padded": padded.write,
    "apart": padded.write_apart,
    "uncached": padded.write_uncached,
}
"""From the fastest to the one that is right by construction."""
LENGTHS, LONGEST, NEW_TOKENS = (2, 5, 5), 300, 16
"""Tokens of the prompts of a trial, of one that is longer than usual windows, of the answers."""
MOST_APART, TIMES_ROUNDING = 1e-4, 8.0
"""Nats a token, on average, that rounding explains; and in units of what another batch shape does.
"""
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What networks raise that know another kind of cache."""


def fitting_way(model: LanguageModel, how: Sampling) -> tuple[str, str]:
    """Return the first of WAYS that is right for a model, and what was seen of those before it.

    Args:
        model: Holds whole weights.
        how: Of the run.
    """
    prompts, seen = _prompts(model), list[str]()
    trial = replace(how, max_new_tokens=NEW_TOKENS, stop_ids=(), temperature=1.0)
    for name in list(WAYS)[:-1]:
        try:
            apart, rounding = _gap(model, WAYS[name], prompts, trial)
        except FAILURES as failure:
            seen.append(f"{name} ends in {told(failure)}")
            continue
        if apart <= max(MOST_APART, TIMES_ROUNDING * rounding):
            return name, "; ".join(seen)
        seen.append(f"{name} is off by {apart:.2g} nats a token")
    return "uncached", "; ".join(seen)


def told(failure: Exception) -> str:
    """Return what a network raised, in one line."""
    reason = str(failure).strip().partition("\n")[0]
    return f"{type(failure).__name__}: {reason}"


@torch.no_grad()
def _gap(
    model: LanguageModel, write: Write, prompts: PromptBatch, how: Sampling
) -> tuple[float, float]:
    """Return mean differences: written against rows read alone, and those against rows together."""
    written = list(write(model, prompts, how, 0))[-1]
    whole = written.take(prompts)
    lengths_B = whole.prompt_lengths_B.tolist()
    rows = list(zip(whole.tokens_BT, lengths_B, strict=True))
    alone_BR = torch.cat([_read(model, row[None, : n + NEW_TOKENS], [n]) for row, n in rows])
    together_BR = _read(model, whole.tokens_BT, lengths_B)
    apart = (whole.sampling_logprobs_BR - alone_BR).abs().mean()
    return float(apart), float((together_BR - alone_BR).abs().mean())


def _read(model: LanguageModel, tokens_BT: Tensor, prompt_lengths: list[int]) -> Tensor:
    """Return logprobs_BR of the responses, by a full forward over right-padded rows."""
    device = model.network.device
    starts = [row * tokens_BT.shape[1] + n for row, n in enumerate(prompt_lengths)]
    places_BR = torch.tensor(starts)[:, None] + torch.arange(NEW_TOKENS)
    logits_NV = model.logits(
        tokens_BT.to(device), (places_BR - 1).flatten().to(device), use_cache=False
    )
    targets_N1 = tokens_BT.flatten()[places_BR].flatten()[:, None].to(device)
    found = logits_NV.float().log_softmax(-1).gather(-1, targets_N1)
    return found.reshape(places_BR.shape).cpu()


def _prompts(model: LanguageModel) -> PromptBatch:
    """Return ragged rows of ordinary tokens."""
    config = model.network.config.get_text_config()
    longest = min(LONGEST, (context_of(config) or LONGEST + NEW_TOKENS) - NEW_TOKENS)
    lengths_B = torch.tensor([*LENGTHS, longest]).clamp(max=longest)
    tokens_BP = trial_tokens(model.network, len(lengths_B), int(lengths_B.max())).cpu()
    return PromptBatch(
        tokens_BP=tokens_BP,
        lengths_B=lengths_B,
        sample_B=torch.arange(len(lengths_B)),
        prompts=("",) * len(lengths_B),
        columns=({},) * len(lengths_B),
    )
