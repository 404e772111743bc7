"""Counts: the numbers that real networks and real adapters have."""

from __future__ import annotations

import pytest

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.models.adapters import Adapter
from rlhf.models.counts import count, count_new
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
