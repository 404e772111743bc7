"""The sampler: the training weights' own distribution, row by row, whoever sits beside a row."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, BloomConfig

from rlhf.algo.packing import response_targets, unpack
from rlhf.algo.seeding import derive_seed
from rlhf.flow.rollout import joined
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from rlhf.generation import sampler
from rlhf.generation.sampler import BACKENDS, Choice, choose
from rlhf.models.language_model import LanguageModel
from tests.models import causal, prompts
from tests.unit.generation import rows
from tests.unit.generation.rows import SEED, STOPS, WIDE, how

FAMILIES = ("llama", "qwen2", "gpt2", "mistral", "gemma2")


def sample(network, prompts, how, seed, backend="continuous"):
    """Generate by one backend."""
    return rows.sample(LanguageModel(network), prompts, how, seed, backend)


def same(one, other):
    """Whether two rollouts are equal, up to the width of their padding."""
    lengths = torch.equal(one.response_lengths_B, other.response_lengths_B)
    ends = torch.equal(one.finished_B, other.finished_B)
    return lengths and ends and one.response_tokens() == other.response_tokens()


@pytest.mark.parametrize(
    ("family", "sizes"), [*((family, {}) for family in FAMILIES), ("llama", WIDE)]
)
def test_greedy_in_a_ragged_batch_is_greedy_one_at_a_time(family, sizes):
    # correctness 3, 4: token for token what transformers generates to each prompt alone.
    network, asked = causal(family, **sizes), prompts(7)
    got = sample(network, asked, how(temperature=0.0), SEED)
    for row, response in enumerate(got.response_tokens()):
        alone = asked.tokens_BP[row : row + 1, : int(asked.lengths_B[row])]
        wanted = network.generate(
            alone,
            attention_mask=torch.ones_like(alone),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=list(STOPS),
            pad_token_id=0,
        )
        assert response == wanted[0, alone.shape[1] :].tolist(), (family, row)
    # Soft caps leave an untrained Gemma in one rut; the others must end at different times.
    assert family == "gemma2" or len(set(got.response_lengths_B.tolist())) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_sampling_logprobs_are_the_language_models(family):
    # correctness 22, 27: cached decoding against a full forward, at temperature 0.7.
    network = causal(family)
    rollout = sample(network, prompts(7), how(temperature=0.7), SEED)
    tokens_BT, positions_N, targets_N = response_targets(rollout)
    with torch.no_grad():
        logprobs_N, _ = LanguageModel(network)(tokens_BT, positions_N, targets_N, 0.7)
    mask_BR = rollout.response_mask_BR
    difference = (unpack(logprobs_N, mask_BR) - rollout.sampling_logprobs_BR)[mask_BR]
    assert float(difference.abs().max()) <= 1e-4
    assert float(rollout.sampling_logprobs_BR[mask_BR].std()) > 0.3


@pytest.mark.parametrize("batch_size", (1, 3, 64))
@pytest.mark.parametrize("sizes", ({}, WIDE), ids=("small", "packed"))
def test_neighbours_order_and_batch_size_change_no_row(sizes, batch_size):
    # correctness 27: batch invariance.
    network, asked = causal(**sizes), prompts(7)
    wanted = sample(network, asked, how(), SEED)
    assert same(sample(network, asked, how(batch_size=batch_size), SEED), wanted)
    order = torch.tensor([4, 1, 6, 0])
    got = sample(network, asked.select(order), how(batch_size=batch_size), SEED)
    assert same(got, wanted.select(order))
    assert got.prompts == wanted.select(order).prompts


def test_steps_and_samples_draw_differently():
    # correctness 11: samples of one prompt differ, wherever they are drawn.
    network = causal()
    one = sample(network, prompts(7), how(), derive_seed("generate", 0))
    assert same(one, sample(network, prompts(7), how(), derive_seed("generate", 0)))
    assert not same(one, sample(network, prompts(7), how(), derive_seed("generate", 1)))
    assert not same(
        one, sample(network, prompts(7, first_sample=7), how(), derive_seed("generate", 0))
    )
    copies = prompts(7).select([2] * 7)
    many = PromptBatch(
        tokens_BP=copies.tokens_BP,
        lengths_B=copies.lengths_B,
        sample_B=torch.arange(7),
        prompts=copies.prompts,
        columns=copies.columns,
    )
    assert len({tuple(r) for r in sample(network, many, how(), SEED).response_tokens()}) > 4


def test_a_response_ends_with_its_first_stop_and_nothing_follows():
    # correctness 24, 26: keeps EOS; cut rows differ from finished ones.
    rollout = sample(causal(), prompts(20), how(), SEED)
    for row, response in enumerate(rollout.response_tokens()):
        stops = [place for place, token in enumerate(response) if token in STOPS]
        finished = bool(rollout.finished_B[row])
        assert stops == ([len(response) - 1] if finished else [])
        assert finished or len(response) == 12
        assert not rollout.tokens_BT[row, int(rollout.lengths_B[row]) :].any()
        assert not rollout.sampling_logprobs_BR[row, len(response) :].any()
    assert 0 < int(rollout.finished_B.sum()) < 20, "some end, some are cut"


def test_a_stop_at_once_makes_a_response_of_one_token():
    # correctness 24: first token EOS -> length 1.
    every_id = tuple(range(290))
    rollout = sample(causal(), prompts(5), how(stop_ids=every_id), SEED)
    assert rollout.response_lengths_B.tolist() == [1] * 5
    assert rollout.finished_B.all()
    assert rollout.sampling_logprobs_BR.shape == (5, 1)


def test_the_prompt_stands_before_the_response_as_it_was():
    # correctness 2: left padding lives inside the sampler alone.
    asked = prompts(7)
    rollout = sample(causal(), asked, how(), SEED)
    for row, length in enumerate(asked.lengths_B.tolist()):
        assert torch.equal(rollout.tokens_BT[row, :length], asked.tokens_BP[row, :length])
    assert torch.equal(rollout.prompt_lengths_B, asked.lengths_B)
    assert rollout.columns == asked.columns


def test_first_tokens_follow_the_tempered_softmax():
    # correctness 21, 22: chi-square of 1e5 first tokens, p > 0.001.
    num_draws, temperature = 100_000, 0.7
    network, one = causal(), prompts(1)
    asked = PromptBatch(
        tokens_BP=one.tokens_BP.expand(num_draws, -1),
        lengths_B=one.lengths_B.expand(num_draws),
        sample_B=torch.arange(num_draws),
        prompts=one.prompts * num_draws,
        columns=one.columns * num_draws,
    )
    settings = how(max_new_tokens=1, temperature=temperature, batch_size=20_000)
    rollout = sample(network, asked, settings, SEED)
    first_B = rollout.tokens_BT[:, int(one.lengths_B)]
    with torch.no_grad():
        logits_V = network(input_ids=one.tokens_BP).logits[0, int(one.lengths_B) - 1].double()
    expected_V = num_draws * (logits_V / temperature).softmax(-1)
    seen_V = torch.bincount(first_B, minlength=290).double()
    common = expected_V >= 5
    seen = torch.cat([seen_V[common], seen_V[~common].sum()[None]])
    expected = torch.cat([expected_V[common], expected_V[~common].sum()[None]])
    chi_square = float(((seen - expected) ** 2 / expected).sum())
    degrees = len(seen) - 1
    # Wilson and Hilferty 1931: the cube root of chi-square / degrees is nearly normal.
    z = ((chi_square / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / (2 / (9 * degrees)) ** 0.5
    assert degrees > 30
    assert z < 3.1, f"chi-square {chi_square:.0f} with {degrees} degrees of freedom"


def test_a_pad_id_that_is_drawn_is_a_token_like_any_other():
    # correctness 1, 23: lengths show what is padding, so an id in the vocabulary needs no ban.
    network, pad = causal(tie_word_embeddings=False), 0
    rollout = sample(network, prompts(40), how(stop_ids=()), SEED)
    common = torch.tensor(rollout.response_tokens()).flatten().mode().values
    head = network.get_output_embeddings().weight.data
    head[pad] = head[common]
    rollout = sample(network, prompts(40), how(), SEED)
    mask_BR, responses = rollout.response_mask_BR, rollout.response_tokens()
    assert [len(row) for row in responses] == rollout.response_lengths_B.tolist()
    assert sum(row.count(pad) for row in responses) > 3
    assert any(pad in row[:-1] for row in responses)
    assert bool((rollout.sampling_logprobs_BR[mask_BR] < 0).all())
    assert torch.equal(mask_BR, rollout.sampling_logprobs_BR != 0)


def test_stopping_early_is_truncating_afterwards():
    # correctness 24: identical tensors, whether a row stops at its EOS or is cut there later.
    network, asked, most = causal(), prompts(20), 12
    early = sample(network, asked, how(), SEED)
    whole = sample(network, asked, how(stop_ids=()), SEED)
    assert whole.response_lengths_B.tolist() == [most] * 20
    tokens_BR = torch.tensor(whole.response_tokens())
    stops_BR = torch.isin(tokens_BR, torch.tensor(STOPS))
    lengths_B = torch.where(stops_BR.any(1), stops_BR.int().argmax(1) + 1, most)
    mask_BR = length_mask(lengths_B, most)
    assert torch.equal(early.response_lengths_B, lengths_B)
    assert torch.equal(early.finished_B, stops_BR.any(1))
    assert early.response_tokens() == [
        row[:length] for row, length in zip(tokens_BR.tolist(), lengths_B.tolist(), strict=True)
    ]
    logprobs_BR = whole.sampling_logprobs_BR * mask_BR
    torch.testing.assert_close(early.sampling_logprobs_BR, logprobs_BR, rtol=0, atol=1e-5)
    assert len(set(lengths_B.tolist())) > 3


def test_a_known_model_gets_continuous_batching_and_the_reason_is_reported():
    model = LanguageModel(causal())
    asked = prompts()
    assert choose(model, how(), asked) == Choice("continuous", "the fastest that fits this model")
    assert choose(model, how(backend="padded"), asked).reason == "generation.backend=padded"


def test_a_model_without_positions_gets_padded_generate():
    bloom = AutoModelForCausalLM.from_config(
        BloomConfig(vocab_size=290, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3)
    ).eval()
    model = LanguageModel(bloom)
    choice = choose(model, how(), prompts())
    assert choice.backend == "padded"
    assert "position_ids" in choice.reason
    rollout = joined(sampler.sample(model, prompts(7), how(), SEED, choice.backend))
    tokens_BT, positions_N, targets_N = response_targets(rollout)
    with torch.no_grad():
        logprobs_N, _ = model(tokens_BT, positions_N, targets_N, 0.8)
    found_N = rollout.sampling_logprobs_BR[rollout.response_mask_BR]
    assert float((logprobs_N - found_N).abs().max()) <= 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_rank_without_rows_gives_nothing(backend):
    model, nobody = LanguageModel(causal()), prompts(2).select([])
    assert list(sampler.sample(model, nobody, how(), SEED, backend)) == []


def chunks(model, asked, backend="continuous", **changes):
    return list(sampler.sample(model, asked, how(**changes), SEED, backend))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("num_rows", (1, 7, 33, 100))
def test_every_row_is_in_one_chunk_and_chunks_are_a_quarter_at_least(backend, num_rows):
    found = chunks(LanguageModel(causal()), prompts(num_rows), backend, batch_size=16)
    rows = [chunk.rows_B.tolist() for chunk in found]
    assert sorted(row for chunk in rows for row in chunk) == list(range(num_rows))
    assert all(chunk == sorted(chunk) for chunk in rows)
    assert all(len(chunk) >= max(8, num_rows / 4) for chunk in rows[:-1])
    assert (len(found) > 1) == (num_rows > 16)


class Watched(LanguageModel):
    """Counts the forward passes."""

    num_forwards = 0

    def logits(self, *arguments, **options):
        self.num_forwards += 1
        return super().logits(*arguments, **options)


def test_a_chunk_is_there_as_soon_as_enough_rows_have_ended():
    # Equal prompts and as many slots as rows: a row that ends at its n-th token takes n forwards.
    model, asked = Watched(causal()), prompts(40)
    whole = joined(chunks(model, asked, batch_size=40))
    ends = sorted(whole.response_lengths_B.tolist())
    model.num_forwards = 0
    chunk = next(sampler.sample(model, asked, how(batch_size=40), SEED, "continuous"))
    assert model.num_forwards == int(chunk.response_lengths_B.max()) == ends[9]
    assert ends[9] < ends[-1]


def test_chunks_are_the_same_again_and_whoever_sits_in_which_slot():
    model, asked = LanguageModel(causal()), prompts(40)
    one, again = (chunks(model, asked, batch_size=12) for _ in range(2))
    assert len(one) > 2
    for chunk, same_chunk in zip(one, again, strict=True):
        assert torch.equal(chunk.rows_B, same_chunk.rows_B)
        assert torch.equal(chunk.tokens_BT, same_chunk.tokens_BT)
        assert torch.equal(chunk.sampling_logprobs_BR, same_chunk.sampling_logprobs_BR)
    # With a slot for every row, rows end in the order of their lengths, wherever they stand.
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    ahead = chunks(model, asked, batch_size=40)
    moved = chunks(model, asked.select(order), batch_size=40)
    assert [sorted(order[p.rows_B].tolist()) for p in moved] == [p.rows_B.tolist() for p in ahead]
    longest = [int(chunk.response_lengths_B.max()) for chunk in ahead]
    shortest = [int(chunk.response_lengths_B.min()) for chunk in ahead]
    assert all(ends < begins for ends, begins in zip(longest, shortest[1:], strict=False))
