"""What tests of generation share: settings, a model whose layers are packed, generated rows."""

from __future__ import annotations

from rlhf.algo.seeding import derive_seed
from rlhf.flow.rollout import joined
from rlhf.generation import sampler
from rlhf.generation.sampling import Sampling

SEED = derive_seed("test")
STOPS = tuple(range(2, 42))
WIDE = {
    "hidden_size": 512,
    "intermediate_size": 640,
    "initializer_range": 0.08,
    "vocab_size": 600,
}
"""Wide enough for layers that pay when packed; the tied output embedding is one of them."""


def how(**changes):
    """Return settings of which some rows end early and some do not."""
    settings = {"max_new_tokens": 12, "temperature": 0.8, "batch_size": 4, "stop_ids": STOPS}
    return Sampling(**{**settings, **changes})


def sample(model, prompts, how, seed, backend="continuous"):
    """Generate all rows by one backend."""
    return joined(sampler.sample(model, prompts, how, seed, backend))
