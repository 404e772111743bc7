"""Padded generation: the same tokens as continuous batching, by transformers' own loop."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.seeding import derive_seed
from rlhf.flow.rollout import joined
from rlhf.generation import sampler
from rlhf.generation.sampler import BACKENDS, choose
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from tests.families import tiny
from tests.models import causal, prompts
from tests.unit.generation.rows import how, sample

HOW = Sampling(max_new_tokens=12, temperature=0.7, batch_size=4, stop_ids=tuple(range(2, 42)))
SEED = derive_seed("test")


@pytest.mark.parametrize("family", ("llama", "gpt2", "mistral", "gemma2"))
def test_both_backends_draw_the_same(family):
    # correctness 11, 27: the draw depends on seed, sample and position, not on how rows are run.
    model, asked = LanguageModel(causal(family)), prompts(11)
    one, other = (
        joined(sampler.sample(model, asked, HOW, SEED, backend))
        for backend in ("padded", "continuous")
    )
    assert one.response_tokens() == other.response_tokens()
    assert torch.equal(one.finished_B, other.finished_B)
    gap_BR = one.sampling_logprobs_BR - other.sampling_logprobs_BR
    assert float(gap_BR.abs().max()) <= 1e-4


def test_what_a_folder_says_of_sampling_is_not_followed():
    # correctness 21: top-k, penalties and the like would draw from another distribution.
    model, asked = LanguageModel(causal()), prompts(11)
    wanted = joined(sampler.sample(model, asked, HOW, SEED, "padded"))
    own = model.network.generation_config
    own.repetition_penalty, own.top_k, own.temperature, own.no_repeat_ngram_size = 5.0, 2, 0.1, 2
    own.do_sample = True
    found = joined(sampler.sample(model, asked, HOW, SEED, "padded"))
    assert found.response_tokens() == wanted.response_tokens()
    assert torch.equal(found.sampling_logprobs_BR, wanted.sampling_logprobs_BR)


def alone(model, rollout, temperature=0.8):
    """Read every row by itself, without padding or cache: how likely each response token is."""
    found = torch.zeros(rollout.response_mask_BR.shape)
    for row, tokens_T in enumerate(rollout.tokens_BT):
        start, end = int(rollout.prompt_lengths_B[row]), int(rollout.lengths_B[row])
        ids_T = tokens_T[:end]
        with torch.no_grad():
            logits_TV = model.network(input_ids=ids_T[None], use_cache=False).logits[0]
        all_TV = (logits_TV[:-1] / temperature).log_softmax(-1)
        found[row, : end - start] = all_TV.gather(1, ids_T[1:, None])[start - 1 :, 0]
    return found


@pytest.mark.parametrize(
    ("family", "wanted"),
    [
        ("llama", ("continuous", "padded")),
        ("falcon", ("padded", "padded")),
        ("jamba", ("padded", "padded")),
        ("gpt_neo", ("padded", "padded")),
        ("rwkv", ("apart", "apart")),
        ("recurrent_gemma", None),
    ],
)
def test_auto_and_padded_end_in_a_way_that_is_right(family, wanted):
    changes = {"alibi": True} if family == "falcon" else {}
    model = LanguageModel(tiny.causal(family, **changes))
    asked = prompts(5)
    ways = [how(backend=backend) for backend in ("auto", "padded")]
    chosen = tuple(choose(model, way, asked).backend for way in ways)
    assert wanted is None or chosen == wanted
    for backend in set(chosen):
        written = sample(model, asked, how(stop_ids=()), SEED, backend)
        torch.testing.assert_close(
            written.sampling_logprobs_BR, alone(model, written), rtol=0, atol=1e-3
        )


def test_the_errors_of_faster_backends_are_reported():
    choice = choose(LanguageModel(tiny.causal("rwkv")), how(), prompts(5))
    assert choice.backend == "apart"
    for name in ("continuous", "padded"):
        assert f"{name} does not fit this model: " in choice.reason


def test_left_padding_is_wrong_for_a_state_and_separate_rows_are_not():
    # The trial must see it: RWKV reads padding, by more than a nat a token on the shortest rows.
    model, asked = LanguageModel(tiny.causal("rwkv")), prompts(5)
    padded = sample(model, asked, how(stop_ids=()), SEED, "padded")
    assert float((padded.sampling_logprobs_BR - alone(model, padded)).abs().max()) > 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_backend_draws_an_absent_id(backend):
    model, asked = LanguageModel(tiny.causal("llama")), prompts(6)
    usual = sample(model, asked, how(stop_ids=()), SEED, backend)
    absent = tuple(torch.cat([torch.tensor(r) for r in usual.response_tokens()]).unique().tolist())
    written = sample(model, asked, how(stop_ids=(), absent_ids=absent), SEED, backend)
    drawn = {token for row in written.response_tokens() for token in row}
    assert not drawn & set(absent)
    assert torch.allclose(written.sampling_logprobs_BR, alone(model, written), rtol=0, atol=1e-4)
