"""LanguageModel: equal to the network's own logits, whatever the padding, the batch or the head."""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.packing import rounded
from rlhf.models.language_model import LanguageModel
from tests.models import SCALED, SEPARABLE, causal, ragged

ALL = (*SEPARABLE, *SCALED)


def places(tokens_BT, lengths_B):
    """Flat positions of all tokens that another one follows, and the tokens that follow."""
    width = tokens_BT.shape[1]
    flat = torch.cat([row * width + torch.arange(n - 1) for row, n in enumerate(lengths_B)])
    return flat, tokens_BT.flatten()[flat + 1]


@pytest.mark.parametrize("family", ALL)
def test_logprobs_and_entropy_are_those_of_the_full_logits(family):
    # correctness 22, 58: at temperature 0.7, against float64.
    network = causal(family)
    tokens_BT, lengths_B = ragged(5)
    positions_N, targets_N = places(tokens_BT, lengths_B)
    with torch.no_grad():
        got, entropy_N = LanguageModel(network)(tokens_BT, positions_N, targets_N, 0.7)
        logits = network(input_ids=tokens_BT).logits.flatten(0, 1)[positions_N].double()
    wanted_NV = (logits / 0.7).log_softmax(-1)
    torch.testing.assert_close(
        got.double(), wanted_NV.gather(1, targets_N[:, None])[:, 0], atol=2e-5, rtol=0
    )
    wanted_entropy_N = -(wanted_NV.exp() * wanted_NV).sum(-1)
    torch.testing.assert_close(entropy_N.double(), wanted_entropy_N, atol=2e-5, rtol=1e-5)
    assert got.std() > 0.3, "the distributions must have favourites for this to mean something"


def test_a_head_that_scales_or_caps_is_not_split():
    assert {family: LanguageModel(causal(family)).split_head for family in ALL} == {
        **dict.fromkeys(SEPARABLE, True),
        **dict.fromkeys(SCALED, False),
    }


@pytest.mark.parametrize("family", ("llama", "gpt2", "gemma2"))
def test_gradients_are_those_of_the_full_logits(family):
    network = causal(family)
    tokens_BT, lengths_B = ragged(4)
    positions_N, targets_N = places(tokens_BT, lengths_B)
    LanguageModel(network)(tokens_BT, positions_N, targets_N, 1.0)[0].sum().backward()
    got = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    logits = network(input_ids=tokens_BT).logits.flatten(0, 1)[positions_N]
    (-torch.nn.functional.cross_entropy(logits, targets_N, reduction="sum")).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=2e-4, rtol=1e-4)


def test_the_head_meets_round_numbers_of_positions_and_nobody_sees_it():
    network = causal()
    tokens_BT, lengths_B = ragged(8)
    positions_N, targets_N = (each[:33] for each in places(tokens_BT, lengths_B))
    met = []
    head = network.get_output_embeddings()
    head.register_forward_hook(lambda _, inputs, __: met.append(len(inputs[0])))
    logprobs_N, entropy_N = LanguageModel(network)(tokens_BT, positions_N, targets_N, 1.0)
    assert met[-1] == rounded(33) == 34
    assert logprobs_N.shape == entropy_N.shape == (33,)
    logprobs_N.sum().backward()
    got = {name: p.grad.clone() for name, p in network.named_parameters()}
    network.zero_grad()
    logits = network(input_ids=tokens_BT).logits.flatten(0, 1)[positions_N]
    (-torch.nn.functional.cross_entropy(logits, targets_N, reduction="sum")).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ALL)
def test_padding_and_neighbours_change_nothing(family):
    # correctness 3: right-padded rows, learned and rotary positions.
    model = LanguageModel(causal(family))
    tokens_BT, lengths_B = ragged(6)
    positions_N, targets_N = places(tokens_BT, lengths_B)
    with torch.no_grad():
        together = model(tokens_BT, positions_N, targets_N, 1.0)[0]
        alone = [
            model(row[None, :n], torch.arange(n - 1), row[1:n], 1.0)[0]
            for row, n in zip(tokens_BT, lengths_B.tolist(), strict=True)
        ]
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=0)


def test_what_stands_at_the_padding_changes_nothing():
    # correctness 3, 37: bit for bit, no mask needed.
    model = LanguageModel(causal())
    tokens_BT, lengths_B = ragged(6)
    positions_N, targets_N = places(tokens_BT, lengths_B)
    poisoned_BT = tokens_BT.clone()
    for row, length in enumerate(lengths_B.tolist()):
        poisoned_BT[row, length:] = 77
    with torch.no_grad():
        clean = model(tokens_BT, positions_N, targets_N, 1.0)[0]
        poisoned = model(poisoned_BT, positions_N, targets_N, 1.0)[0]
    assert torch.equal(clean, poisoned)


def test_bfloat16_weights_still_give_float32():
    # correctness 49
    model = LanguageModel(causal().to(torch.bfloat16))
    logprobs_N, entropy_N = model(*model.example_inputs())
    assert (logprobs_N.dtype, entropy_N.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("family", ("llama", "granite"))
def test_the_smallest_inputs_run(family):
    model = LanguageModel(causal(family))
    logprobs_N, entropy_N = model(*model.example_inputs())
    assert logprobs_N.shape == entropy_N.shape == (1,)


def test_wrapping_leaves_the_mode_as_it_was():
    network = causal().train()
    LanguageModel(network)
    assert network.training
