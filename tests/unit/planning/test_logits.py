"""Logits: by hand, and against the tensors that torch really makes and keeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlhf.models.language_model import LanguageModel
from rlhf.models.model_shape import model_shape_of
from rlhf.planning.activations import Learns, Pass
from rlhf.planning.logits import logit_bytes
from tests import models
from tests.contract.gauge import taken

VOCAB, HIDDEN = models.VOCAB, 32
SLICE = 2**17 // VOCAB * VOCAB * 4
SCORES = Pass(
    number_bytes=4,
    tokens=4096,
    longest=64,
    positions=4096,
    packed=False,
    learns=Learns(base=False),
)
LEARNS = replace(SCORES, learns=Learns(base=True))
LLAMA = model_shape_of(models.config("llama"), "llama", scalar=False)
GEMMA = model_shape_of(models.config("gemma2"), "gemma2", scalar=False)
STATES = 4096 * HIDDEN * 4
CHUNK = 1024 * VOCAB * 4


def test_a_cpu_goes_over_a_slice_of_a_chunk():
    assert logit_bytes(LLAMA, SCORES) == STATES + CHUNK + 4 * SLICE
    short = replace(SCORES, positions=100)
    assert logit_bytes(LLAMA, short) == 100 * (HIDDEN * 4 + VOCAB * 4 + 4 * VOCAB * 4)


def test_a_gpu_goes_over_a_whole_chunk():
    there = replace(SCORES, on_gpu=True)
    assert logit_bytes(LLAMA, there) == STATES + CHUNK + 3 * CHUNK
    narrow = logit_bytes(LLAMA, replace(there, number_bytes=2))
    assert narrow == STATES / 2 + CHUNK / 2 + 3 * CHUNK


def test_learning_adds_a_gradient_and_that_of_the_weights_over_chunks():
    weights, earlier = VOCAB * HIDDEN * 4, 3 * 1024 * HIDDEN * 4
    assert logit_bytes(LLAMA, LEARNS) == STATES + 2 * CHUNK + 3 * SLICE + weights + earlier
    adapters = replace(LEARNS, learns=Learns(base=False, adapter_rank=4))
    assert logit_bytes(LLAMA, adapters) == STATES + 2 * CHUNK + 3 * SLICE + earlier


def test_a_wide_output_layer_has_larger_gradients_than_its_logits():
    wide = replace(LLAMA, hidden=8192)
    one = replace(LEARNS, positions=1024)
    states = 1024 * 8192 * 4
    assert logit_bytes(wide, one) == states + CHUNK + VOCAB * 8192 * 4 + states


def test_capped_logits_are_made_of_all_tokens():
    whole = 4096 * VOCAB * 4
    assert logit_bytes(GEMMA, replace(SCORES, positions=1024)) == 2 * whole
    assert logit_bytes(GEMMA, SCORES) == 2 * whole + 4 * SLICE
    assert logit_bytes(GEMMA, replace(LEARNS, positions=1024)) == 3 * whole


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("positions", [1024, 4096])
def test_it_is_what_torch_takes(dtype, positions):
    vocabulary, length = 4096, 64
    network = models.causal("llama", num_hidden_layers=1, vocab_size=vocabulary).to(dtype)
    model, model_shape = (
        LanguageModel(network),
        model_shape_of(network.config, "llama", scalar=False),
    )
    tokens_BT = torch.randint(3, vocabulary, (4096 // length, length))
    chosen_N, targets_N = torch.arange(positions), torch.zeros(positions, dtype=torch.long)

    def score() -> torch.Tensor:
        return model(tokens_BT, chosen_N, targets_N, 0.7)[0]

    run = replace(SCORES, number_bytes=dtype.itemsize, positions=positions)
    with torch.no_grad():
        assert taken(score) == pytest.approx(logit_bytes(model_shape, run), rel=0.1)
    network.base_model.requires_grad_(False)
    network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())
    learned = logit_bytes(model_shape, replace(run, learns=Learns(base=True)))
    assert taken(lambda: score().sum().backward()) == pytest.approx(learned, rel=0.1)
