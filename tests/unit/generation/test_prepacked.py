"""Prepacked weights: the same products, from the weights of now, and nothing left behind."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from rlhf.algo.packing import response_targets, unpack
from rlhf.engine.local import LocalEngine
from rlhf.generation.prepacked import prepacked
from rlhf.models.language_model import LanguageModel
from tests.models import causal, prompts
from tests.unit.generation.rows import SEED, WIDE, how, sample

GIB = 2**30


def own_forwards(network):
    """Names of the layers that are run in a way of their own."""
    return {name for name, module in network.named_modules() if "forward" in vars(module)}


def differences(engine, rollout):
    """Log-probabilities of a training pass less those of sampling, of real tokens."""
    tokens_BT, positions_N, targets_N = response_targets(rollout)
    with torch.no_grad():
        logprobs_N, _ = engine(tokens_BT, positions_N, targets_N, how().temperature)
    mask_BR = rollout.response_mask_BR
    return (unpack(logprobs_N.float(), mask_BR) - rollout.sampling_logprobs_BR)[mask_BR]


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
