"""Generation: by hand; tests/contract/test_planning.py compares the sum with real ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlhf.models.model_shape import model_shape_of
from rlhf.planning.activations import Learns, Pass, working_bytes
from rlhf.planning.model_memory import Model
from rlhf.planning.writing import arranged_bytes, writing_bytes
from tests import models

VOCAB = 8192
LLAMA = model_shape_of(models.config("llama", vocab_size=VOCAB), "llama", scalar=False)
GPT2 = model_shape_of(models.config("gpt2", vocab_size=VOCAB), "gpt2", scalar=False)
FP32 = Model(num_weights=0, num_trainable=0, largest_weight=0, ranks=1, stage=0, number_bytes=4)
BF16 = replace(FP32, number_bytes=2)
HEAD = 32 * VOCAB
SPARE = 1e9


def settings(temperature: float = 1.0, samples: int = 1):
    """Prompts of 100 tokens."""
    return models.experiment(
        data={"max_prompt_length": 100},
        generation={"max_new_tokens": 10, "temperature": temperature},
        ppo={"samples_per_prompt": samples},
    )


def test_large_plain_layers_are_arranged():
    assert arranged_bytes(LLAMA, FP32, SPARE) == 4 * HEAD
    wide = replace(LLAMA, plain_linears=(2**16, 2**18, HEAD))
    assert arranged_bytes(wide, FP32, SPARE) == 4 * (2**18 + HEAD)
    assert arranged_bytes(wide, BF16, SPARE) == 2 * (2**16 + 2**18 + HEAD)
    assert arranged_bytes(replace(GPT2, plain_linears=(2**16,)), FP32, SPARE) == 0


def test_nothing_is_arranged_on_a_gpu_or_without_memory():
    assert arranged_bytes(LLAMA, replace(FP32, on_gpu=True), SPARE) == 0
    assert arranged_bytes(LLAMA, FP32, 4 * HEAD) == 0


def reading(prompts: int) -> float:
    run = Pass(
        number_bytes=4,
        tokens=prompts * 100,
        longest=100,
        positions=prompts,
        packed=False,
        learns=Learns(base=False),
    )
    return working_bytes(LLAMA, run)


def test_prompts_are_read_together_and_each_different_one_once():
    small = replace(LLAMA, vocab=16)
    assert writing_bytes(small, FP32, settings(), 8) == reading(8)
    assert writing_bytes(small, FP32, settings(samples=4), 8) == reading(2)
    graphs = 8 * 16 * 4 // 2
    assert writing_bytes(small, replace(FP32, on_gpu=True), settings(), 8) == reading(8) + graphs


@pytest.mark.parametrize(
    ("model", "temperature", "each"),
    [(FP32, 1.0, 8), (FP32, 0.7, 12), (BF16, 1.0, 10), (BF16, 0.7, 10)],
)
def test_a_draw(model, temperature, each):
    assert writing_bytes(LLAMA, model, settings(temperature, 4), 64) == 64 * VOCAB * each
