"""Prepacked weights: the same products, from the weights of now, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from rlhf.algo.seeding import derive_seed
from rlhf.engine.local import LocalEngine
from rlhf.flow.rollout import joined
from rlhf.generation import sampler
from rlhf.generation.prepacked import prepacked
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from rlhf.roles.passes import response_targets, spread
from tests.models import causal, prompts

GIB = 2**30
SEED = derive_seed("test")
WIDE = {
    "hidden_size": 512,
    "intermediate_size": 640,
    "initializer_range": 0.08,
    "vocab_size": 600,
}
"""Wide enough for layers that pay; the tied output embedding is one of them."""
STOPS = tuple(range(2, 42))


def how(**changes):
    settings = {"max_new_tokens": 12, "temperature": 0.7, "batch_size": 4, "stop_ids": STOPS}
    return Sampling(**{**settings, **changes})


def sample(model, prompts, how, seed):
    """Write all rows by continuous batching."""
    return joined(sampler.sample(model, prompts, how, seed, "continuous"))


def own_forwards(network):
    """Names of the layers that are run in a way of their own."""
    return {name for name, module in network.named_modules() if "forward" in vars(module)}


def differences(engine, rollout):
    """Log-probabilities of a training pass less those of sampling, of real tokens."""
    tokens_BT, positions_N, targets_N = response_targets(rollout)
    with torch.no_grad():
        logprobs_N, _ = engine(tokens_BT, positions_N, targets_N, 0.7)
    mask_BR = rollout.response_mask_BR
    return (spread(logprobs_N.float(), mask_BR) - rollout.sampling_logprobs_BR)[mask_BR]


@pytest.mark.parametrize("has_bias", (True, False))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16))
def test_products_are_those_of_the_layer(dtype, has_bias):
    torch.manual_seed(0)
    layer = nn.Linear(512, 640, bias=has_bias).to(dtype)
    for shape in ((1, 512), (2, 512), (3, 5, 512), (7, 1, 512), (0, 512)):
        x = torch.randn(shape).to(dtype)
        with torch.no_grad():
            wanted = layer(x)
            with prepacked(layer, GIB):
                assert own_forwards(layer) == {""}
                found = layer(x)
        assert found.dtype is dtype
        torch.testing.assert_close(found, wanted, rtol=0.02, atol=1e-5)


@pytest.mark.parametrize("family", ("llama", "qwen2", "mistral", "gemma2"))
def test_the_large_layers_and_the_tied_head_are_packed(family):
    network = causal(family, **WIDE)
    with prepacked(network, GIB):
        packed = own_forwards(network)
    assert {name.rsplit(".", 1)[-1] for name in packed} >= {"lm_head", "up_proj"}
    assert not own_forwards(network)


def test_greedy_from_packed_weights_is_greedy_one_at_a_time():
    network, asked = causal(**WIDE), prompts(7)
    got = sample(LanguageModel(network), asked, how(temperature=0.0), SEED)
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
        assert response == wanted[0, alone.shape[1] :].tolist(), row


@pytest.mark.parametrize("batch_size", (1, 3))
def test_neighbours_change_no_row(batch_size):
    model, asked = LanguageModel(causal(**WIDE)), prompts(7)
    wanted = sample(model, asked, how(batch_size=7), SEED).response_tokens()
    assert sample(model, asked, how(batch_size=batch_size), SEED).response_tokens() == wanted


def test_sampling_logprobs_are_those_of_training_in_fp32():
    engine = LocalEngine(LanguageModel(causal(**WIDE)))
    with engine.gathered() as model:
        rollout = sample(model, prompts(20), how(), SEED)
    assert float(differences(engine, rollout).abs().max()) <= 1e-4
    assert float(rollout.sampling_logprobs_BR.std()) > 0.3


@pytest.mark.parametrize("by", ("autocast", "weights"))
def test_sampling_logprobs_are_those_of_training_in_bf16(by):
    # Schulman's k3 = r - 1 - log r, which is never negative.
    network = causal(**WIDE)
    if by == "weights":
        network.to(torch.bfloat16)
    engine = LocalEngine(LanguageModel(network), bf16=by == "autocast")
    with engine.gathered() as model:
        with prepacked(model, GIB):
            assert own_forwards(model)
        rollout = sample(model, prompts(20), how(), SEED)
    log_ratio = differences(engine, rollout)
    assert float((log_ratio.expm1() - log_ratio).mean()) < 1e-3
    assert float(log_ratio.abs().max()) > 0


def test_a_rollout_after_a_change_of_weights_uses_the_new_ones():
    network, asked = causal(**WIDE), prompts(9)
    model = LanguageModel(network)
    before = sample(model, asked, how(), SEED)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.1)
    after = sample(model, asked, how(), SEED)
    fresh = causal(**WIDE)
    fresh.load_state_dict(network.state_dict())
    wanted = sample(LanguageModel(fresh), asked, how(), SEED)
    assert after.response_tokens() == wanted.response_tokens()
    assert torch.equal(after.sampling_logprobs_BR, wanted.sampling_logprobs_BR)
    assert after.response_tokens() != before.response_tokens()


def test_nothing_is_left_behind_not_even_after_an_error():
    network = causal(**WIDE)
    state = {name: dict(vars(module)) for name, module in network.named_modules()}
    with pytest.raises(KeyError), prepacked(network, GIB):
        assert own_forwards(network)
        raise KeyError
    assert {name: dict(vars(module)) for name, module in network.named_modules()} == state
    network(input_ids=torch.ones(1, 3, dtype=torch.long)).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("reason", ("no room", "small layers", "no such product", "its own way"))
def test_layers_run_as_ever_where_packing_cannot_be(reason):
    layer = nn.Linear(512, 640 if reason != "small layers" else 64)
    weights = layer.weight.numel() * layer.weight.itemsize
    room = weights if reason == "no room" else GIB
    if reason == "no such product":
        layer.double()
    if reason == "its own way":
        layer.forward = lambda x: x
    own = own_forwards(layer)
    with prepacked(layer, room):
        assert own_forwards(layer) == own
    assert own_forwards(layer) == own


def test_the_base_layers_under_adapters_are_packed():
    network = causal(**WIDE)
    adapted = get_peft_model(network, LoraConfig(r=4, target_modules=["q_proj", "up_proj"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    tokens_BT = torch.arange(2, 14).view(2, 6)
    with torch.no_grad():
        wanted = adapted(input_ids=tokens_BT).logits
        with prepacked(adapted, GIB):
            packed = own_forwards(adapted)
            found = adapted(input_ids=tokens_BT).logits
    assert any(name.endswith("q_proj.base_layer") for name in packed)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
