"""Texts that share a row are read as if each stood alone, and models that cannot are found out."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    MambaConfig,
    MixtralConfig,
    Qwen3NextConfig,
    RwkvConfig,
)

from rlhf.algo.packing import pack_rows
from rlhf.models.language_model import LanguageModel
from rlhf.models.packing import can_pack
from rlhf.models.scalar_model import ScalarModel
from tests.families import tiny
from tests.models import VOCAB, causal, classifier, ragged

FAMILIES = ("llama", "qwen2", "gpt2", "mistral", "gemma2", "granite", "cohere")
SCALAR = ("llama", "qwen2", "gpt2", "mistral", "gemma2")
TINY = {"vocab_size": VOCAB, "hidden_size": 32}


def texts():
    """Seven ragged rows and the flat places (row, column) of tokens that another one follows."""
    tokens_BT, lengths_B = ragged(7, longest=15)
    places = [(row, column) for row, n in enumerate(lengths_B.tolist()) for column in range(n - 1)]
    return tokens_BT, lengths_B, tuple(torch.tensor(places).T)


def passed(model, *, packs, tokens_BT=None):
    """Return (logprobs_N, entropy_N), or values_N, of every place."""
    own_BT, lengths_B, (rows_N, columns_N) = texts()
    tokens_BT = own_BT if tokens_BT is None else tokens_BT
    rows = pack_rows(tokens_BT, lengths_B, packs=packs)
    assert (rows.position_ids_SW is None) != packs
    positions_N = rows.starts_B[rows_N] + columns_N
    if isinstance(model, ScalarModel):
        return (model(rows.tokens_SW, positions_N, rows.position_ids_SW),)
    targets_N = tokens_BT[rows_N, columns_N + 1]
    return model(rows.tokens_SW, positions_N, targets_N, 0.7, rows.position_ids_SW)


def gradient(model, answers):
    """The gradient of a sum that weighs every answer differently, as one vector."""
    model.zero_grad()
    (answers[0] * torch.linspace(-1, 1, len(answers[0]))).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def models():
    made = [(f"{family}-lm", lambda f=family: LanguageModel(causal(f))) for family in FAMILIES]
    made += [(f"{family}-scalar", lambda f=family: ScalarModel(classifier(f))) for family in SCALAR]
    return [pytest.param(make, id=name) for name, make in made]


@pytest.mark.parametrize("make", models())
def test_packed_rows_say_what_separate_rows_say(make):
    # correctness 3: learned and rotary positions, sliding windows (of 5), capped scores.
    model = make()
    assert model.packs
    separate, packed = passed(model, packs=False), passed(model, packs=True)
    for got, wanted in zip(packed, separate, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)
    wanted = gradient(model, separate)
    got = gradient(model, packed)
    assert wanted.norm() > 0.1
    assert float((got - wanted).norm() / wanted.norm()) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("make", models())
def test_a_neighbour_in_the_bin_never_leaks(make):
    # correctness 3: bit for bit.
    model = make()
    tokens_BT, lengths_B, (rows_N, _) = texts()
    clean = passed(model, packs=True)[0]
    for row in range(len(tokens_BT)):
        changed_BT = tokens_BT.clone()
        changed_BT[row, : lengths_B[row]] = 77
        others = passed(model, packs=True, tokens_BT=changed_BT)[0]
        assert torch.equal(others[rows_N != row], clean[rows_N != row])
        assert not torch.equal(others[rows_N == row], clean[rows_N == row])


@torch.no_grad()
def test_what_stands_in_the_padding_of_a_bin_changes_nothing():
    # correctness 3, 37: bit for bit.
    model = LanguageModel(causal("mistral"))
    tokens_BT, lengths_B, (rows_N, columns_N) = texts()
    rows = pack_rows(tokens_BT, lengths_B, packs=True)
    real = torch.zeros(rows.tokens_SW.numel(), dtype=torch.bool)
    for start, length in zip(rows.starts_B.tolist(), lengths_B.tolist(), strict=True):
        real[start : start + length] = True
    assert not real.all()
    poisoned_SW = rows.tokens_SW.masked_fill(~real.view_as(rows.tokens_SW), 77)
    asked = (rows.starts_B[rows_N] + columns_N, tokens_BT[rows_N, columns_N + 1], 1.0)
    clean = model(rows.tokens_SW, *asked, rows.position_ids_SW)
    poisoned = model(poisoned_SW, *asked, rows.position_ids_SW)
    assert torch.equal(clean[0], poisoned[0])
    assert clean[0].isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("family", ("llama", "gpt2", "mistral"))
def test_in_bfloat16_packed_rows_are_close(family):
    # correctness 49
    model = LanguageModel(causal(family).to(torch.bfloat16))
    assert model.packs, "the trial knows rounding from a leak in any dtype"
    exact = passed(LanguageModel(causal(family)), packs=False)[0]
    separate, packed = passed(model, packs=False)[0], passed(model, packs=True)[0]
    assert (packed - separate).abs().mean() <= (separate - exact).abs().mean()


@torch.no_grad()
def test_a_bin_of_many_blocks_has_no_row_without_a_key():
    # Kernels go through keys in blocks of hundreds: here whole blocks belong to neighbours.
    model = LanguageModel(causal(max_position_embeddings=2048))
    tokens_BT = torch.randint(30, VOCAB, (5, 700), generator=torch.Generator().manual_seed(0))
    lengths_B = torch.tensor([700, 700, 400, 400, 400])
    rows = pack_rows(tokens_BT, lengths_B, packs=True)
    assert rows.tokens_SW.shape == (2, 1400)
    positions_B, targets_B = rows.starts_B + lengths_B - 2, tokens_BT[range(5), lengths_B - 1]
    packed = model(rows.tokens_SW, positions_B, targets_B, 1.0, rows.position_ids_SW)[0]
    plain = pack_rows(tokens_BT, lengths_B, packs=False)
    separate = model(plain.tokens_SW, plain.starts_B + lengths_B - 2, targets_B, 1.0)[0]
    torch.testing.assert_close(packed, separate, atol=2e-5, rtol=0)


def test_networks_that_cannot_are_found_out():
    configs = [
        MambaConfig(**TINY, num_hidden_layers=2, state_size=4),
        BloomConfig(**TINY, n_layer=2, n_head=4),
        RwkvConfig(**TINY, num_hidden_layers=2, attention_hidden_size=32),
        Qwen3NextConfig(
            **TINY,
            num_hidden_layers=2,
            layer_types=["linear_attention", "full_attention"],
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=2,
            intermediate_size=32,
            moe_intermediate_size=16,
            shared_expert_intermediate_size=16,
            num_experts=2,
            num_experts_per_tok=1,
        ),
    ]
    for seed, config in enumerate(configs):
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(config)
        assert not can_pack(network), type(network).__name__
        assert network.training, "the trial leaves the mode as it was"


@torch.no_grad()
def test_a_mixture_of_experts_packs_too():
    shape = {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(
        MixtralConfig(**TINY, **shape, intermediate_size=32, initializer_range=0.3)
    )
    model = LanguageModel(network.eval())
    assert model.packs
    separate, packed = passed(model, packs=False)[0], passed(model, packs=True)[0]
    torch.testing.assert_close(packed, separate, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ("gpt2", "gpt_neo", "opt", "deepseek_v32"))
def test_rows_as_long_as_the_context_are_read_in_bins_as_alone(family):
    # GPT-2 has no place past its context, GPT-Neo a mask no wider, DeepSeek-V3.2 an index a row.
    model = LanguageModel(tiny.causal(family))
    lengths = [tiny.CONTEXT, 9, tiny.CONTEXT, 21, tiny.CONTEXT - 3, 40]
    tokens_BT = torch.randint(30, 250, (6, tiny.CONTEXT), generator=torch.manual_seed(0))
    rows = pack_rows(tokens_BT, torch.tensor(lengths), packs=model.packs)
    places = [(row, column) for row, n in enumerate(lengths) for column in range(n - 1)]
    rows_N, columns_N = torch.tensor(places).T
    with torch.no_grad():
        found_N, _ = model(
            rows.tokens_SW,
            rows.starts_B[rows_N] + columns_N,
            tokens_BT[rows_N, columns_N + 1],
            1.0,
            rows.position_ids_SW,
        )
        alone = [
            model.network(input_ids=row[None, :n]).logits[0]
            for row, n in zip(tokens_BT, lengths, strict=True)
        ]
    wanted = [
        logits_TV[:-1].log_softmax(-1).gather(1, row[1:n, None])[:, 0]
        for logits_TV, row, n in zip(alone, tokens_BT, lengths, strict=True)
    ]
    assert model.packs == (family == "gpt2")
    torch.testing.assert_close(found_N, torch.cat(wanted), rtol=0, atol=1e-4)
