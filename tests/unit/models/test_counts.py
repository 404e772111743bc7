"""Counts: the numbers that real networks and real adapters have."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGUFWriter

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.errors import ModelError
from rlhf.models.adapters import Adapter
from rlhf.models.counts import count, count_new
from rlhf.models.model_shape import read_model_shape
from rlhf.models.pretrained import load_causal_lm, new_causal_lm
from tests import models

WHOLE = PeftConfig()


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_folder(folder, family):
    network = load_causal_lm(folder(family))
    total = sum(parameter.numel() for parameter in network.parameters())
    assert count(folder(family), WHOLE).total == count(folder(family), WHOLE).learned == total


TARGETS = ["all-linear", "q_proj,down_proj", "q_proj, v_proj", " all-linear ", "v_proj,"]
TARGETS += ["self_attn.q_proj", "embed_tokens", "lm_head,q_proj"]


@pytest.mark.parametrize("target", TARGETS)
def test_adapters(folder, target):
    peft = PeftConfig(method="lora", rank=3, target_modules=target)
    network = load_causal_lm(folder("qwen2"))
    Adapter(network, peft, seed=0)
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert count(folder("qwen2"), peft).learned == learned


def test_a_model_that_is_yet_to_be_made():
    new, tokenizer = NewModelConfig(hidden_size=32, num_layers=2), models.tokenizer()
    made = new_causal_lm(new, tokenizer, 0)
    assert count_new(new, tokenizer, WHOLE).total == made.num_parameters()


@pytest.fixture
def gguf(tmp_path):
    """A GGUF file of a small Llama; its fields alone."""
    path = tmp_path / "small.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(290)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"t{i}" for i in range(290)])
    writer.add_tensor("token_embd.weight", np.zeros((290, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def test_a_gguf_file_is_counted_by_its_fields(gguf):
    network = models.causal("llama")
    assert count(gguf, WHOLE).total == network.num_parameters()
    lora = PeftConfig(method="lora", rank=2, target_modules="q_proj, v_proj")
    assert count(gguf, lora).learned == 2 * 2 * ((32 + 32) + (32 + 16))
    assert read_model_shape(gguf).num_weights == network.num_parameters()


def test_what_is_no_gguf_file_is_one_line(tmp_path):
    (tmp_path / "odd.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ModelError, match="odd.gguf: no GGUF file that can be read") as caught:
        count(str(tmp_path / "odd.gguf"), WHOLE)
    assert "\n" not in str(caught.value)
