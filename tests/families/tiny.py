"""A tiny random model of any causal family of transformers, made from its config class alone.

Sizes are found in the config by their names. A few families need more to be small and not
degenerate: `MORE` says what.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

VOCAB, CONTEXT, WINDOW, LAYERS = 290, 64, 6, 2
MOST_WEIGHTS = 8_000_000
HEAD = "lm_head.weight"
PER_LAYER = ("hidden_size_per_layer_input", "vocab_size_per_layer_input")
FAMILIES: tuple[str, ...] = tuple(NAMES)

SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "text_vocab_size"), VOCAB),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "emb_dim", "embedding_size"), 32),
    **dict.fromkeys(("word_embed_proj_dim", "attention_hidden_size", "audio_embed_size"), 32),
    **dict.fromkeys(("adapter_in_dim", "adapter_out_dim", "adapter_input_size"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "dff", "dim_ff"), 48),
    **dict.fromkeys(("decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("expert_ffn_hidden_size", "intermediate_size_mlp"), 16),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "num_layers", "n_layers"), LAYERS),
    **dict.fromkeys(("decoder_layers", "encoder_layers", "num_decoder_layers"), LAYERS),
    **dict.fromkeys(("num_encoder_layers",), LAYERS),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    **dict.fromkeys(("num_decoder_attention_heads", "num_encoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads", "multi_query_group_num"), 2),
    **dict.fromkeys(("head_dim", "attention_head_dim", "dim_head"), 8),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx"), CONTEXT),
    **dict.fromkeys(("max_target_positions", "max_source_positions", "max_seq_len"), CONTEXT),
    **dict.fromkeys(("context_length", "max_sequence_length"), CONTEXT),
    **dict.fromkeys(("sliding_window", "sliding_window_size", "window_size"), WINDOW),
    **dict.fromkeys(("attention_window_size", "local_attention", "attention_chunk_size"), WINDOW),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "moe_top_k"), 2),
    **dict.fromkeys(("n_shared_experts", "moe_num_shared_experts", "num_shared_experts"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "index_head_dim"), 4),
    **dict.fromkeys(("n_group", "topk_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_value_heads"), 4),
    **dict.fromkeys(("linear_num_key_heads", "linear_key_head_dim"), 2),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size", "mamba_state_dim"), 8),
    **dict.fromkeys(("n_groups", "mamba_n_groups", "mamba_ngroups"), 1),
    **dict.fromkeys(("time_step_rank", "mamba_dt_rank"), 4),
    **dict.fromkeys(("mamba_chunk_size", "chunk_size"), 4),
    **dict.fromkeys(("mamba_d_ssm", "mamba_intermediate_size"), 32),
    **dict.fromkeys(("attention_dropout", "hidden_dropout", "dropout", "activation_dropout"), 0.1),
    **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop", "residual_dropout"), 0.1),
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.1),
    **dict.fromkeys(("layerdrop", "decoder_layerdrop", "embedding_dropout"), 0.1),
    "initializer_range": 0.3,
    "init_std": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""By name, wherever a config (or a part of one) has such a number."""

LAYER_LISTS = ("layer_types", "mlp_layer_types", "layers_block_type")
LINEAR = {"linear_head_dim": 8, "linear_num_heads": 4, "linear_conv_kernel_dim": 4}
ROTARY = {"rotary_dim": 4}
MAMBA_1 = {"mamba_expand": 1}
MORE: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {**LINEAR, "num_experts_per_token": 2, "num_expert_group": 1},
    "bamba": {"mamba_expand": 1, "attn_layer_indices": [1]},
    "codegen": ROTARY,
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            "full_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    },
    "deepseek_v32": {"index_topk": 6, "index_n_heads": 16},
    "glm_moe_dsa": {"index_topk": 6, "index_n_heads": 16},
    "axk2": {"index_topk": 6, "index_n_heads": 16},
    "hy_v4": {"index_topk": 6, "index_n_heads": 16},
    "deepseek_v4": {
        "o_groups": 2,
        "o_lora_rank": 8,
        "index_n_heads": 16,
        "index_topk": 4,
        "hc_mult": 2,
        "compress_rates": {"compressed_sparse_attention": 2, "heavily_compressed_attention": 4},
    },
    "diffllama": {"attention_dropout": 0.0},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {
        "head_dim": 12,
        "index_n_heads": 16,
        "index_topk": 4,
        "shared_experts_intermediate_size": 16,
        "layer_types": ["sliding_attention", "indexed_attention"],
        "mlp_layer_types": ["dense", "sparse"],
        "num_hidden_layers": 2,
        "per_layer_config": {},
    },
    "gemma3n_text": {
        "vocab_size_per_layer_input": 290,
        "hidden_size_per_layer_input": 8,
        "num_kv_shared_layers": 2,
        "laurel_rank": 4,
        "num_hidden_layers": 4,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0],
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gemma4_text": {
        "vocab_size_per_layer_input": 290,
        "hidden_size_per_layer_input": 8,
        "per_layer_config": {},
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": ROTARY,
    "granitemoehybrid": {
        "layer_types": ["linear_attention", "full_attention"],
        "mamba_expand": 1,
        "shared_intermediate_size": 16,
    },
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "inkling2_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
        "d_rel": 4,
        "rel_extent": 32,
        "unpadded_vocab_size": 280,
    },
    "inkling_text": {
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 2,
        "swa_head_dim": 8,
        "d_rel": 4,
        "rel_extent": 32,
    },
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 0,
        "use_mamba_kernels": False,
    },
    "kimi_linear": {**LINEAR, "num_experts_per_token": 2},
    "lfm2_moe": {"num_dense_layers": 1, "layer_types": ["conv", "full_attention"]},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"expand": 1},
    "minimax_m3_vl_text": {
        "dense_intermediate_size": 48,
        "shared_intermediate_size": 16,
        "rotary_dim": 4,
        "index_block_size": 4,
        "index_topk_blocks": 2,
        "layer_types": ["full_attention", "full_attention"],
    },
    "ministral": {"head_dim": 8},
    "mpt": {"attn_config": {"attn_pdrop": 0}},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"expand": 1, "moe_shared_expert_intermediate_size": 16},
    "dbrx": {"attn_config": {"rope_theta": 1e4, "kv_n_heads": 2, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "qwen4_exp_text": {
        "indexer_n_heads": 16,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "hc_count": 2,
        "hc_lowrank": 8,
        "ple_embed_dim": 16,
        "ngram_vocab_size_base": 100,
    },
    "recurrent_gemma": {
        "num_hidden_layers": 3,
        "block_types": ["recurrent", "recurrent", "attention"],
    },
    "xlstm": {"hidden_size": 128},
    "reformer": {
        "is_decoder": True,
        "attention_head_size": 8,
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [8, 24],
        "feed_forward_size": 48,
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "attn_layers": ["local", "lsh"],
        "num_buckets": 2,
    },
    "rembert": {"input_embedding_size": 32, "output_embedding_size": 32, "is_decoder": True},
    "roc_bert": {
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
        "pronunciation_vocab_size": 290,
        "shape_vocab_size": 290,
    },
    "xlnet": {"d_inner": 48, "d_head": 8},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "num_hidden_layers": 3,
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "use_mamba_kernels": False,
    },
    "zamba2": {
        "layers_block_type": ["linear_attention", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
        "num_key_value_heads": 4,
        "use_mamba_kernels": False,
        "n_mamba_heads": 8,
        "mamba_expand": 2,
        "mamba_headdim": 8,
        "adapter_rank": 4,
        "hybrid_layer_ids": [1],
        "num_query_groups": 4,
        "kv_channels": 8,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
"""By model_type."""


def config_of(family: str, **changes: Any) -> PreTrainedConfig:
    """Return a tiny config of a family."""
    if family == "gemma4_assistant":  # its default config is one that it refuses
        changes["text_config"] = dict.fromkeys(PER_LAYER, 0)
    sizes = _sizes(AutoConfig.for_model(family, **changes), family)
    return AutoConfig.for_model(family, **{**sizes, **changes})


def _sizes(config: PreTrainedConfig, family: str) -> dict[str, Any]:
    """Return what makes a config tiny, its parts included."""
    ids = {key: SIZES[key] for key in ("pad_token_id", "bos_token_id", "eos_token_id")}
    known = {k: v for k, v in config.to_dict().items() if v is not None and not isinstance(v, dict)}
    sizes = {key: SIZES[key] for key in known if key in SIZES}
    if "qk_rope_head_dim" in sizes:  # latent attention turns these alone, and has no groups
        sizes |= {"num_key_value_heads": SIZES["num_attention_heads"]}
        sizes |= {"head_dim": sizes["qk_rope_head_dim"]} if "head_dim" in sizes else {}
    kinds = {k: list(dict.fromkeys(known[k])) for k in LAYER_LISTS if known.get(k)}
    num_layers = max([LAYERS, *map(len, kinds.values())])
    for key, names in kinds.items():  # every kind of layer there is
        sizes[key] = [names[layer % len(names)] for layer in range(num_layers)]
        sizes |= {k: num_layers for k in sizes if SIZES.get(k) == LAYERS and "layer" in k}
    parts = {
        key: _sizes(part, part.model_type)
        for key in config.sub_configs
        if (part := getattr(config, key, None)) is not None
    }
    return {**ids, **sizes, **parts, **MORE.get(family, {})}


def reads_more(family: str) -> bool:
    """Return whether its folders hold a part for images or sounds beside the one for text."""
    return config_of(family).get_text_config().model_type != family


def causal(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Make a tiny language model; fresh weights, buffers that are not zero, evaluation mode."""
    config = config_of(family, **changes)
    text = config.get_text_config()
    known = MODEL_FOR_CAUSAL_LM_MAPPING
    kind = known[type(text)] if type(text) in known else known[type(config)]
    made = text if kind.config_class is type(text) else config
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in kind(made).parameters())
    if size > MOST_WEIGHTS:
        raise ValueError(f"{family}: {size:,} weights are not tiny; see MORE")
    torch.manual_seed(seed)
    network = kind(made).eval()
    kept = network.state_dict()
    for name, buffer in network.named_buffers():
        if name in kept and buffer.is_floating_point() and not buffer.any():
            buffer.normal_()
    return network


def write(network: PreTrainedModel, config: PreTrainedConfig, folder: str) -> None:
    """Write a folder; of a family that reads more than text, as the part that its config has."""
    network.save_pretrained(folder)
    if config.get_text_config() is config:
        return
    file = Path(folder) / "model.safetensors"
    part, stored = "model.language_model.", load_file(file)
    renamed = {part + n.removeprefix("model.") if n != HEAD else n: t for n, t in stored.items()}
    save_file(renamed, file, {"format": "pt"})
    config.architectures = [NAMES[config.model_type]]
    config.tie_word_embeddings = network.config.tie_word_embeddings
    config.save_pretrained(folder)
