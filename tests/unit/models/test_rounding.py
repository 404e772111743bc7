"""What bf16 keeps in fp32: logits relative to one of them, and the stream between the products."""

import pytest
import torch
from torch import nn

from rlhf.algo.logprobs import logprobs_of
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm
from rlhf.models.rounding import RelativeHead, WideLayerNorm, widen_stream
from tests.models import SCALED, SEPARABLE

HIDDEN, VOCABULARY = 64, 1000


def a_head(scale):
    """A head whose logits are as large as those of real models: tens."""
    head = nn.Linear(HIDDEN, VOCABULARY, bias=False)
    drawn = torch.Generator().manual_seed(0)
    nn.init.normal_(head.weight, std=scale, generator=drawn)
    head.__class__ = RelativeHead
    hidden_NH = torch.randn(40, HIDDEN, generator=drawn)
    return head.bfloat16(), hidden_NH.bfloat16()


def exact(head, hidden_NH, targets_N):
    logits_NV = hidden_NH.double() @ head.weight.double().T
    return logits_NV.log_softmax(-1).gather(-1, targets_N[:, None]).squeeze(-1)


@pytest.mark.parametrize("given", [True, False])
def test_log_probabilities_are_off_by_a_share_of_themselves_not_of_the_logits(given):
    head, hidden_NH = a_head(scale=1.5)
    targets_N = (hidden_NH @ head.weight.T).float().topk(3, -1).indices[:, -1]
    truth_N = exact(head, hidden_NH, targets_N)
    shifted_NV = head(hidden_NH, targets_N if given else None)
    found_N, _ = logprobs_of(shifted_NV, targets_N, 1.0)
    rough_N, _ = logprobs_of(nn.functional.linear(hidden_NH, head.weight), targets_N, 1.0)
    distance_N = truth_N.abs().clamp(min=0.1)
    assert ((found_N - truth_N).abs() <= distance_N / 128).all()
    assert (rough_N - truth_N).abs().mean() > 5 * (found_N - truth_N).abs().mean()


def test_its_gradient_is_that_of_the_plain_product():
    head, hidden_NH = a_head(scale=0.3)
    targets_N = torch.arange(40)
    hidden_NH.requires_grad_()
    logprobs_of(head(hidden_NH, targets_N), targets_N, 0.7)[0].sum().backward()
    wide = hidden_NH.detach().double().requires_grad_()
    weight = head.weight.detach().double().requires_grad_()
    logits_NV = wide @ weight.T / 0.7
    logits_NV.log_softmax(-1).gather(-1, targets_N[:, None]).sum().backward()
    for ours, true in ((head.weight.grad, weight.grad), (hidden_NH.grad, wide.grad)):
        assert (ours.double() - true).norm() < 0.01 * true.norm()


def test_in_fp32_the_head_is_the_plain_product():
    head, hidden_NH = a_head(scale=0.3)
    head.float()
    hidden_NH = hidden_NH.float()
    plain = nn.functional.linear(hidden_NH, head.weight)
    assert torch.equal(head(hidden_NH, torch.arange(40)), plain)


def test_a_layer_norm_in_bf16_weights_gives_wide_states():
    norm = nn.LayerNorm(HIDDEN)
    nn.init.normal_(norm.weight)
    norm.bfloat16()
    states = torch.randn(3, HIDDEN)
    expected = nn.functional.layer_norm(
        states, (HIDDEN,), norm.weight.float(), norm.bias.float(), norm.eps
    )
    norm.__class__ = WideLayerNorm
    assert torch.equal(norm(states), expected)


@pytest.mark.parametrize("family", SEPARABLE + SCALED)
def test_the_stream_of_a_bf16_network_is_wide_and_nothing_else_of_it_changes(family, folder):
    network = load_causal_lm(folder(family), "bf16")
    dtypes = []
    model = LanguageModel(network)
    for block in network.base_model.modules():
        if type(block).__name__.endswith(("DecoderLayer", "Block")):
            block.register_forward_hook(lambda _m, _i, out: dtypes.append(_first(out).dtype))
    tokens_BT, positions_N = torch.arange(1, 9)[None], torch.arange(7)
    logprobs_N, _ = model(tokens_BT, positions_N, tokens_BT[0, 1:], 1.0)
    assert dtypes and set(dtypes) == {torch.float32}
    plain = load_causal_lm(folder(family), "bf16").float()
    logits_NV = plain(input_ids=tokens_BT).logits[0, :-1]
    truth_N = logits_NV.log_softmax(-1).gather(-1, tokens_BT[0, 1:, None]).squeeze(-1)
    assert torch.allclose(logprobs_N, truth_N, atol=0.1)
    assert all(p.dtype is torch.bfloat16 for p in network.parameters())


@pytest.mark.parametrize("family", SEPARABLE)
def test_an_fp32_network_is_left_alone(family, folder):
    network = load_causal_lm(folder(family))
    assert not widen_stream(network)
    assert not network.get_input_embeddings()._forward_hooks


def _first(output):
    return output[0] if isinstance(output, tuple) else output
