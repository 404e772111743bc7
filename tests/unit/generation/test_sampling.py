"""The draw: the distribution function inverted, block by block, at one number a row."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.seeding import derive_seed, uniforms
from rlhf.errors import ConfigError
from rlhf.generation.sampling import BLOCK, draw
from tests.models import experiment

SEED = derive_seed("test")


def test_draw_inverts_the_distribution_function():
    logits_BV = torch.tensor([[0.2, 0.5, 0.3]]).log().expand(5, 3)
    uniform_B = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.999999], dtype=torch.float64)
    chosen_B, logprobs_B = draw(logits_BV, 1.0, uniform_B)
    assert chosen_B.tolist() == [0, 0, 1, 1, 2]
    torch.testing.assert_close(logprobs_B.exp(), torch.tensor([0.2, 0.2, 0.5, 0.5, 0.3]))


def test_draw_never_takes_what_cannot_be():
    # correctness 23: a token of probability 0 is never drawn, at either end.
    logits_BV = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(3, 4)
    uniform_B = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits_BV, 1.0, uniform_B)[0].tolist() == [1, 2, 2]


def test_greedy_reports_the_plain_logprob():
    chosen_B, logprobs_B = draw(torch.tensor([[1.0, 3.0]]), 0.0, torch.zeros(1).double())
    assert chosen_B.tolist() == [1]
    torch.testing.assert_close(logprobs_B, torch.tensor([[1.0, 3.0]]).log_softmax(-1)[:, 1])


@pytest.mark.parametrize("narrowed", ({"top_p": 0.9}, {"top_k": 40}, {"min_p": 0.1}))
def test_another_distribution_than_the_scored_one_cannot_be_asked_for(narrowed):
    # correctness 21: the sampler draws from exactly what the log-probabilities score.
    with pytest.raises(ConfigError, match=f"generation.{next(iter(narrowed))}"):
        experiment(generation=narrowed)


def test_a_million_draws_stay_within_the_vocabulary():
    # correctness 23: neither beyond the logits nor an id whose logit is -inf.
    num_draws, pad = 1_000_000, 0
    logits_V = torch.randn(11, generator=torch.Generator().manual_seed(0)) * 3
    logits_V[pad] = logits_V[-1] = -torch.inf
    source = torch.Generator().manual_seed(0)
    uniform_B = torch.rand(num_draws, dtype=torch.float64, generator=source)
    uniform_B[:2] = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    # A row takes a kilobyte and more of every table inside: all at once they would be gigabytes.
    drawn = {
        token
        for part_B in uniform_B.split(10_000)
        for token in draw(logits_V.expand(len(part_B), -1), 0.7, part_B)[0].unique().tolist()
    }
    assert drawn == set(range(1, 10))


@pytest.mark.parametrize("vocab", (1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1000))
@pytest.mark.parametrize("temperature", (0.5, 1.0))
def test_blocks_draw_what_one_long_sum_would(vocab, temperature):
    # correctness 21, 22: against the plain inverse in float64, at every size of the last block.
    generator = torch.Generator().manual_seed(vocab)
    logits_BV = 4 * torch.randn(2000, vocab, generator=generator)
    uniform_B = uniforms(SEED, torch.arange(2000), vocab)
    chosen_B, logprobs_B = draw(logits_BV, temperature, uniform_B)
    logprobs_BV = (logits_BV.double() / temperature).log_softmax(-1)
    ends_BV = logprobs_BV.exp().cumsum(-1)
    wanted_B = (ends_BV <= uniform_B[:, None]).sum(-1).clamp(max=vocab - 1)
    assert (chosen_B != wanted_B).float().mean() <= 0.001, "rounding at a border, once in thousands"
    found_B = logprobs_BV.gather(1, chosen_B[:, None]).squeeze(1)
    assert float((found_B - logprobs_B).abs().max()) < 1e-5


def test_a_row_is_drawn_alike_whatever_rows_are_beside_it():
    # correctness 27
    logits_BV = torch.randn(50, 700, generator=torch.Generator().manual_seed(1))
    uniform_B = uniforms(SEED, torch.arange(50), 0)
    together = draw(logits_BV, 0.8, uniform_B)
    for row in range(0, 50, 7):
        alone = draw(logits_BV[row : row + 1], 0.8, uniform_B[row : row + 1])
        assert torch.equal(alone[0], together[0][row : row + 1])
        assert torch.equal(alone[1], together[1][row : row + 1])


@pytest.mark.parametrize("temperature", (0.0, 0.7, 1.0))
def test_absent_ids_are_passed_over_and_keep_their_share(temperature):
    # The log-probabilities are those of the whole vocabulary, as training computes them.
    draws = 4000
    logits_V = torch.tensor([0.3, 2.0, 0.1, 1.0, 5.0])
    uniform_B = (torch.arange(draws).double() + 0.5) / draws
    chosen_B, logprobs_B = draw(logits_V.expand(draws, -1), temperature, uniform_B, (1, 4))
    whole_V = (logits_V / (temperature or 1.0)).log_softmax(-1)
    torch.testing.assert_close(logprobs_B, whole_V[chosen_B], rtol=0, atol=1e-6)
    if temperature == 0.0:
        assert chosen_B.unique().tolist() == [3]
        return
    shares_V = torch.bincount(chosen_B, minlength=5) / draws
    left_V = whole_V.exp() * torch.tensor([1, 0, 1, 1, 0])
    torch.testing.assert_close(shares_V, left_V / left_V.sum(), rtol=0, atol=1e-3)
