"""Activations: what autograd really saves a token and block, for every family, to the byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlhf.config.model import PeftConfig
from rlhf.models.adapters import Adapter
from rlhf.models.model_shape import model_shape_of
from rlhf.planning.activations import Learns, Pass, block_bytes, kept_bytes
from tests import models

ROWS, LENGTH = 2, 64
RUN = Pass(
    number_bytes=4,
    tokens=ROWS * LENGTH,
    longest=LENGTH,
    positions=ROWS * LENGTH,
    packed=False,
    learns=Learns(base=True),
)


def saved_bytes(family: str, num_layers: int, dtype: torch.dtype, *, rank: int) -> float:
    """Return what a forward pass saves besides weights, a token."""
    layers = {"n_layer" if family == "gpt2" else "num_hidden_layers": num_layers}
    window = {"sliding_window": None} if family == "mistral" else {}
    network = models.causal(family, **layers, **window).to(dtype)
    if rank:
        Adapter(network, PeftConfig(method="lora", rank=rank), seed=0)
        network.to(dtype)
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage
        return tensor

    tokens_BT = torch.randint(3, 200, (ROWS, LENGTH))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        network.base_model(input_ids=tokens_BT, use_cache=False)
        return sum(storage.nbytes() for storage in saved.values()) / (ROWS * LENGTH)


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "mistral", "gemma2"])
def test_a_block_keeps_what_autograd_saves(family, dtype, rank):
    one, two = (saved_bytes(family, layers, dtype, rank=rank) for layers in (1, 2))
    model_shape = model_shape_of(models.config(family), family, scalar=False)
    learns = Learns(base=not rank, adapter_rank=rank)
    run = replace(RUN, number_bytes=dtype.itemsize, learns=learns)
    assert block_bytes(model_shape, run) == pytest.approx(two - one, rel=0.05)


def test_checkpointing_keeps_inputs_and_one_block():
    model_shape = model_shape_of(models.config("llama", num_hidden_layers=8), "llama", scalar=False)
    kept = kept_bytes(model_shape, RUN)
    less = kept_bytes(model_shape, replace(RUN, checkpointing=True))
    assert kept == RUN.tokens * 8 * block_bytes(model_shape, RUN)
    assert less == RUN.tokens * (8 * 32 * 4 + block_bytes(model_shape, RUN))


def test_packed_rows_take_a_mask_and_repeated_keys():
    model_shape = model_shape_of(models.config("llama"), "llama", scalar=False)
    more = block_bytes(model_shape, replace(RUN, packed=True)) - block_bytes(model_shape, RUN)
    assert more == 2 * 4 * (32 - 16) + 4 * 2 * LENGTH
