"""Small networks with more state than weights: routers with a correction bias, as a buffer."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Ernie4_5_MoeConfig,
    MiniMaxM2Config,
    PreTrainedModel,
)

from tests.models import VOCAB, tokenizer

BIAS = (5.003, -5.0, 5.0, -5.0)
"""Of the first expert a number that bf16 rounds."""
SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OWN = {
    DeepseekV3Config: {
        "moe_intermediate_size": 16,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "first_k_dense_replace": 0,
    },
    Ernie4_5_MoeConfig: {
        "moe_intermediate_size": 16,
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_layer_start_index": 0,
        "moe_num_shared_experts": 1,
    },
    MiniMaxM2Config: {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
}
ROUTED = ("deepseek_v3", "ernie4_5_moe", "minimax_m2")
"""The bias is a buffer that stays float32; a parameter that does; a buffer that bf16 rounds."""


def routed(family: str = "deepseek_v3", seed: int = 0) -> PreTrainedModel:
    """Make a routed language model whose correction bias decides which experts are asked."""
    torch.manual_seed(seed)
    kind = next(kind for kind in OWN if kind.model_type == family)
    network = AutoModelForCausalLM.from_config(kind(**SHAPE, **OWN[kind])).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if is_bias(name):
                tensor.copy_(torch.tensor(BIAS).expand_as(tensor))
    return network


def is_bias(name: str) -> bool:
    """Tell whether a tensor is a router's correction bias."""
    return name.endswith("e_score_correction_bias")


def write_routed(folder: Path, family: str = "deepseek_v3") -> str:
    """Write a routed model's folder by transformers alone."""
    network = routed(family)
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)
