"""Log-probabilities of tokens, whole and in chunks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rlhf.algo.logprobs import CACHED, logprobs_of, token_logprobs
from rlhf.algo.masking import masked_mean

N, H, V = 23, 6, 50


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(N, H, generator=generator, dtype=torch.float64).to(dtype)
    weight = torch.randn(V, H, generator=generator, dtype=torch.float64).to(dtype)
    targets = torch.randint(V, (N,), generator=generator)
    return hidden.requires_grad_(), weight.requires_grad_(), targets


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.0])
def test_logits_are_divided_by_the_temperature(temperature: float) -> None:
    # correctness 22: also the entropy.
    logits = torch.randn(N, V, generator=torch.Generator().manual_seed(0)) * 3
    targets = torch.arange(N)
    logprobs, entropy = logprobs_of(logits, targets, temperature)
    expected = torch.distributions.Categorical(logits=logits / temperature)
    assert torch.allclose(logprobs, expected.log_prob(targets), atol=1e-5)
    assert torch.allclose(entropy, expected.entropy(), atol=1e-5)


def test_half_precision_logits_are_reduced_in_float32() -> None:
    # correctness 49: bf16 logits -> float32 log-probs, within 2e-3 of float64.
    logits = (torch.randn(64, 5000, generator=torch.Generator().manual_seed(1)) * 4).bfloat16()
    targets = torch.arange(64)
    logprobs, entropy = logprobs_of(logits, targets, 0.7)
    assert logprobs.dtype == entropy.dtype == torch.float32
    exact = (logits.double() / 0.7).log_softmax(-1)[torch.arange(64), targets]
    assert (logprobs.double() - exact).abs().max() < 2e-3


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_gradients_are_those_of_differences(temperature: float) -> None:
    logits = torch.randn(4, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    targets = torch.tensor([0, 6, 3, 3])
    assert torch.autograd.gradcheck(
        lambda x: logprobs_of(x, targets, temperature)[0], (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("num_rows", [0, 1, 2 * (CACHED // 1000), 2 * (CACHED // 1000) + 5])
def test_rows_in_several_slices_are_as_those_in_one(num_rows: int) -> None:
    logits = torch.randn(num_rows, 1000, generator=torch.Generator().manual_seed(4))
    targets = torch.arange(num_rows)
    logprobs, entropy = logprobs_of(logits.requires_grad_(), targets, 0.7)
    coefficients = torch.linspace(-1, 1, num_rows)
    (found,) = torch.autograd.grad((logprobs * coefficients).sum(), logits)
    all_logprobs = (logits / 0.7).log_softmax(-1)
    whole = all_logprobs[torch.arange(num_rows), targets]
    (expected,) = torch.autograd.grad((whole * coefficients).sum(), logits, retain_graph=True)
    assert torch.allclose(logprobs, whole, atol=1e-6)
    assert torch.allclose(entropy, torch.special.entr(all_logprobs.exp()).sum(-1), atol=1e-5)
    assert torch.allclose(found, expected, atol=1e-6)


def test_entropy_survives_impossible_tokens() -> None:
    logits = torch.tensor([[0.0, 0.0, -math.inf]])
    assert logprobs_of(logits, torch.tensor([0]), 1.0)[1].item() == pytest.approx(math.log(2))


def test_entropy_is_averaged_over_real_tokens_only() -> None:
    # correctness 58: padding neither counts nor adds.
    _, entropy = logprobs_of(torch.zeros(4, 8), torch.zeros(4, dtype=torch.long), 1.0)
    entropy[2:] = math.nan
    mask = torch.tensor([True, True, False, False])
    assert masked_mean(entropy, mask).item() == pytest.approx(math.log(8))


@pytest.mark.parametrize("chunk", [1, 5, 22, N, 100])
def test_chunks_change_neither_values_nor_gradients(chunk: int) -> None:
    hidden, weight, targets = problem()
    coefficients = torch.linspace(-1, 1, N, dtype=torch.float64)
    whole, whole_entropy = logprobs_of(hidden @ weight.T, targets, 0.7)
    expected = torch.autograd.grad((whole * coefficients).sum(), (hidden, weight))
    chunks, entropy = token_logprobs(hidden, lambda h, _: h @ weight.T, targets, 0.7, chunk)
    found = torch.autograd.grad((chunks * coefficients).sum(), (hidden, weight))
    assert torch.allclose(chunks, whole, rtol=0, atol=1e-13)
    assert torch.allclose(entropy, whole_entropy, rtol=0, atol=1e-13)
    assert not entropy.requires_grad
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-13)


def test_the_head_never_sees_more_than_one_chunk() -> None:
    hidden, weight, targets = problem()
    sizes: list[int] = []

    def head(chunk: Tensor, _: Tensor) -> Tensor:
        sizes.append(len(chunk))
        return chunk @ weight.T

    with torch.no_grad():
        token_logprobs(hidden, head, targets, 1.0, 5)
    assert sizes == [5, 5, 5, 5, 3]
    token_logprobs(hidden, head, targets, 1.0, 5)[0].sum().backward()
    assert max(sizes) == 5
    assert sum(sizes) == 3 * N, "once without gradients, once forward, once again backward"


def test_one_chunk_is_not_computed_twice() -> None:
    hidden, weight, targets = problem()
    calls: list[int] = []

    def head(chunk: Tensor, _: Tensor) -> Tensor:
        calls.append(len(chunk))
        return chunk @ weight.T

    token_logprobs(hidden, head, targets, 1.0, N)[0].sum().backward()
    assert calls == [N]


def kept_between_passes(chunk: int) -> int:
    """Numbers that autograd holds from the forward to the backward."""
    hidden, weight, targets = problem()
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        token_logprobs(hidden, lambda h, _: h @ weight.T, targets, 0.7, chunk)
    return sum(kept)


def test_no_logits_are_kept_for_the_backward_pass() -> None:
    assert kept_between_passes(N) >= N * V
    assert kept_between_passes(5) < N * V / 2


def test_the_weights_gradient_arrives_once() -> None:
    # Gradient hooks of sharded engines count one arrival a parameter and backward pass.
    hidden, weight, targets = problem()
    arrivals: list[int] = []
    weight.register_post_accumulate_grad_hook(lambda parameter: arrivals.append(1))
    token_logprobs(hidden, lambda h, _: h @ weight.T, targets, 0.7, 4)[0].sum().backward()
    assert arrivals == [1]


def test_bf16_heads_give_float32_results() -> None:
    # correctness 49: through the chunked path as well.
    hidden, weight, targets = problem(torch.bfloat16)
    logprobs, entropy = token_logprobs(hidden, lambda h, _: h @ weight.T, targets, 1.0, 4)
    assert logprobs.dtype == entropy.dtype == torch.float32
    logprobs.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16
