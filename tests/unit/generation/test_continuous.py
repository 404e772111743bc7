"""Continuous batching: cached rows are full forwards, slots are reused, prompts are read once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlhf.generation import sampler
from rlhf.generation.continuous import refusal
from rlhf.generation.trial import gaps
from rlhf.models.language_model import LanguageModel
from tests.models import causal, prompts
from tests.unit.generation.rows import SEED, WIDE, how, sample

FAMILIES = ("llama", "qwen2", "gpt2", "mistral", "gemma2", "granite", "cohere")


@pytest.mark.parametrize("family", FAMILIES)
def test_cached_rows_of_any_length_have_the_logits_of_a_full_forward(family):
    # correctness 3: learned and rotary positions, windows, ragged neighbours, fp32.
    model = LanguageModel(causal(family))
    found, _ = gaps(model, prompts(), how(), lambda rows, short: write(model, rows, short))
    assert found.worst_row <= 1e-5


def write(model, rows, short):
    yield from sampler.sample(model, rows, short, SEED, "continuous")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_we_know_are_not_refused(family):
    assert refusal(LanguageModel(causal(family))) is None


class Counting(LanguageModel):
    """Counts the rows and tokens that pass through it."""

    def __init__(self, network):
        super().__init__(network)
        self.seen: list[tuple[int, int]] = []

    def logits(self, tokens_BT, positions_N, **options):
        self.seen.append(tuple(tokens_BT.shape))
        return super().logits(tokens_BT, positions_N, **options)


def test_samples_of_one_prompt_read_it_once():
    model, one = Counting(causal()), prompts(2)
    rows = torch.tensor([0, 0, 0, 1, 1, 1])
    asked = replace(one.select(rows), sample_B=torch.arange(6))
    rollout = sample(model, asked, how(batch_size=6), SEED)
    assert model.seen[0] == (2, int(one.lengths_B.max()))
    alone = sample(LanguageModel(causal()), asked, how(batch_size=1), SEED)
    assert rollout.response_tokens() == alone.response_tokens()


def test_a_prompt_that_ends_with_the_id_of_the_padding_is_another_prompt():
    tokens_BP, lengths_B = torch.tensor([[40, 0], [40, 0], [41, 42]]), torch.tensor([1, 2, 2])
    asked = replace(prompts(3), tokens_BP=tokens_BP, lengths_B=lengths_B)
    model = Counting(causal())
    together = sample(model, asked, how(batch_size=3), SEED).response_tokens()
    assert model.seen[0] == (3, 2)
    rows = [asked.select([row]) for row in range(3)]
    alone = [sample(LanguageModel(causal()), row, how(batch_size=1), SEED) for row in rows]
    assert together == [rollout.response_tokens()[0] for rollout in alone]


def test_no_forward_is_spent_on_rows_that_have_ended():
    model, asked = Counting(causal()), prompts(40)
    rollout = sample(model, asked, how(batch_size=8), SEED)
    decoded = sum(rows for rows, width in model.seen if width == 1)
    assert decoded == int(rollout.response_lengths_B.sum()) - 40, "the first comes from the prompt"
    assert max(rows for rows, width in model.seen if width == 1) == 8


def test_freed_slots_are_filled_from_the_queue():
    model, asked = Counting(causal()), prompts(40)
    sample(model, asked, how(batch_size=8), SEED)
    decoded = [rows for rows, width in model.seen if width == 1]
    assert sum(rows >= 7 for rows in decoded) > 0.6 * len(decoded)


@pytest.mark.parametrize("sizes", ({}, WIDE), ids=("small", "packed"))
def test_new_weights_meet_neither_old_keys_nor_old_weights(sizes):
    network, asked = causal(**sizes), prompts(9)
    model = LanguageModel(network)
    before = sample(model, asked, how(), SEED)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    after = sample(model, asked, how(), SEED)
    fresh = causal(**sizes)
    fresh.load_state_dict(network.state_dict())
    wanted = sample(LanguageModel(fresh), asked, how(), SEED)
    assert after.response_tokens() == wanted.response_tokens()
    assert torch.equal(after.sampling_logprobs_BR, wanted.sampling_logprobs_BR)
    assert after.response_tokens() != before.response_tokens()
