"""Padded generation: the same tokens as continuous batching, by transformers' own loop."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.seeding import derive_seed
from rlhf.flow.rollout import joined
from rlhf.generation.sampler import sample
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from tests.models import causal, prompts

HOW = Sampling(max_new_tokens=12, temperature=0.7, batch_size=4, stop_ids=tuple(range(2, 42)))
SEED = derive_seed("test")


@pytest.mark.parametrize("family", ("llama", "gpt2", "mistral", "gemma2"))
def test_both_backends_draw_the_same(family):
    # correctness 11, 27: the draw depends on seed, sample and position, not on how rows are run.
    model, asked = LanguageModel(causal(family)), prompts(11)
    one, other = (
        joined(sample(model, asked, HOW, SEED, backend)) for backend in ("padded", "continuous")
    )
    assert one.response_tokens() == other.response_tokens()
    assert torch.equal(one.finished_B, other.finished_B)
    gap_BR = one.sampling_logprobs_BR - other.sampling_logprobs_BR
    assert float(gap_BR.abs().max()) <= 1e-4


def test_what_a_folder_says_of_sampling_is_not_followed():
    # correctness 21: top-k, penalties and the like would draw from another distribution.
    model, asked = LanguageModel(causal()), prompts(11)
    wanted = joined(sample(model, asked, HOW, SEED, "padded"))
    own = model.network.generation_config
    own.repetition_penalty, own.top_k, own.temperature, own.no_repeat_ngram_size = 5.0, 2, 0.1, 2
    own.do_sample = True
    found = joined(sample(model, asked, HOW, SEED, "padded"))
    assert found.response_tokens() == wanted.response_tokens()
    assert torch.equal(found.sampling_logprobs_BR, wanted.sampling_logprobs_BR)
