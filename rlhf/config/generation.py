"""How responses are drawn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rlhf.config.section import Section


class GenerationConfig(Section):
    """Pure ancestral sampling: no top-k, no top-p, so that the sampler is the policy."""

    max_new_tokens: int = Field(default=128, gt=0, le=2**24)
    """Longest response, in tokens, EOS included."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the logits in every log-probability: sampling, old, new and reference."""
    backend: Literal["auto", "padded"] = "auto"
    """auto: continuous batching, where the model allows it, else padded. padded: transformers' own
    generate, slower; rows of one length apart, or without a cache, where a trial finds it wrong."""
    batch_size: int = Field(default=64, gt=0, le=2**24)
    """Rows decoded together on one rank."""
