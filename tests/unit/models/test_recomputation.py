"""Blocks that are recomputed: the same gradients, less kept, and samplers keep their cache."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from rlhf.config.model import PeftConfig
from rlhf.errors import ModelError
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.recomputation import recompute_blocks
from rlhf.models.scalar_model import ScalarModel
from tests.families import tiny
from tests.models import causal, classifier, ragged

FAMILIES = ("llama", "qwen2", "gpt2", "mistral", "gemma2", "granite", "cohere")
NUM_LAYERS = 3


def language_model(family="llama", *, recompute=False, adapters=False, num_layers=NUM_LAYERS):
    name = "n_layer" if family == "gpt2" else "num_hidden_layers"
    network = causal(family, **{name: num_layers})
    if adapters:
        Adapter(network, PeftConfig(method="lora"), seed=0)
    model = LanguageModel(network)
    if recompute:
        recompute_blocks(model)
    return model


def inputs():
    """A row of packed texts, every position but the last of the row read."""
    tokens_BT, lengths_B = ragged(7, longest=9)
    texts = [row[:n] for row, n in zip(tokens_BT, lengths_B.tolist(), strict=True)]
    tokens_W = torch.cat(texts)
    position_ids_W = torch.cat([torch.arange(len(text)) for text in texts])
    positions_N = torch.arange(len(tokens_W) - 1)
    return tokens_W[None], positions_N, tokens_W[1:], 0.7, position_ids_W[None]


def learn(model):
    """Give (logprobs, gradients, bytes kept between the passes, forwards of the first block)."""
    kept, weights = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}
    forwards = []

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    first = next(m for m in model.modules() if isinstance(m, nn.ModuleList))[0]
    norm = next(m for name, m in first.named_modules() if "norm" in name or "ln_1" in name)
    norm.register_forward_pre_hook(lambda *_: forwards.append(1))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        logprobs_N, _ = model(*inputs())
    (-logprobs_N.sum()).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    return logprobs_N.detach(), grads, sum(kept.values()), len(forwards)


@pytest.mark.parametrize("adapters", (False, True))
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_the_same_and_less_is_kept(family, adapters):
    wanted, want_grads, much, once = learn(language_model(family, adapters=adapters))
    got, grads, little, twice = learn(language_model(family, adapters=adapters, recompute=True))
    assert torch.equal(got, wanted)
    assert set(grads) == set(want_grads)
    assert all(torch.equal(grads[name], grad) for name, grad in want_grads.items())
    assert any(grad.abs().max() > 0 for grad in grads.values())
    assert little < much / 2
    assert (once, twice) == (1, 2)


def test_a_block_more_keeps_one_input_more():
    tokens = inputs()[0].numel()
    sizes = [learn(language_model(recompute=True, num_layers=n))[2] for n in (2, 3, 4)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == tokens * 32 * 4


def test_a_scalar_model_learns_the_same():
    found = []
    for recompute in (False, True):
        model = ScalarModel(classifier())
        if recompute:
            recompute_blocks(model)
        tokens_BT, positions_N, _, _, position_ids_BT = inputs()
        model(tokens_BT, positions_N, position_ids_BT).sum().backward()
        found.append({n: p.grad for n, p in model.named_parameters()})
    assert all(torch.equal(found[1][name], grad) for name, grad in found[0].items())


def test_scoring_recomputes_nothing_and_sampling_keeps_its_cache():
    model = language_model(recompute=True)
    model(*inputs())  # a forward pass that learns leaves nothing behind
    tokens_BT, *_ = inputs()
    with torch.no_grad():
        wanted = language_model()(*inputs())[0]
        assert torch.equal(model(*inputs())[0], wanted)
        said = model.network(input_ids=tokens_BT[:, :4], use_cache=True)
        assert said.past_key_values.get_seq_length() == 4
        again = model.network(tokens_BT[:, 4:6], past_key_values=said.past_key_values).logits
        whole = model.network(tokens_BT[:, :6], use_cache=False).logits
    torch.testing.assert_close(again, whole[:, 4:6], rtol=0, atol=1e-5)
    assert not any(m.training for m in model.network.modules())


def test_a_failed_forward_leaves_the_blocks_as_they_were():
    model = language_model(recompute=True)
    with pytest.raises((IndexError, RuntimeError)):
        model(inputs()[0] + 10**6, *inputs()[1:])
    assert not any(m.training for m in model.network.modules())


def test_a_network_without_such_blocks_is_refused():
    bare = nn.Module()
    bare.network = nn.Linear(2, 2)
    with pytest.raises(ModelError, match=r"engine\.gradient_checkpointing=true: Linear has no"):
        recompute_blocks(bare)


@pytest.mark.parametrize("family", ("opt", "xglm", "biogpt", "mpt", "zamba", "zamba2"))
def test_blocks_that_drop_out_by_a_number_or_hold_blocks_recompute_what_they_computed(family):
    # OPT's dropout is a float, read where the block is in training mode; here it is 0.1. A block of
    # Zamba holds two others.
    def trained(recompute):
        model = LanguageModel(tiny.causal(family))
        if recompute:
            recompute_blocks(model)
        tokens_BT, positions_N = inputs()[0], inputs()[1]
        logprobs_N, _ = model(tokens_BT, positions_N, tokens_BT[0, 1:], 1.0)
        logprobs_N.sum().backward()
        return logprobs_N.detach(), [p.grad for p in model.parameters() if p.grad is not None]

    (wanted, want_grads), (got, grads) = trained(False), trained(True)
    assert torch.equal(got, wanted)
    for one, other in zip(grads, want_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
