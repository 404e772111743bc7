"""Small real models, tokenizers, prompts and settings, made on the fly.

Vocabularies have about 300 tokens, networks 20 to 50 thousand parameters. Weights are drawn wide,
so that distributions have clear favourites and tests of equality mean something.
"""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.data.tokenizer import train_tokenizer
from rlhf.engine.world import World
from rlhf.flow.rollout import Experience, Rollout
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings
from rlhf.roles.passes import Settings

SEPARABLE = ("llama", "qwen2", "gpt2", "mistral")
"""Families whose logits are the output embedding of the last hidden states, and nothing more."""
SCALED = ("gemma2", "granite", "cohere")
"""Families that scale or cap their logits."""
VOCAB = 290
TEXTS = ["the film was good", "a bad film about the world", "what a good world this is"] * 3
NUM_STOPS = 24
"""Tokens that end a response in the folders made here, so that lengths are ragged."""


def tokenizer(texts: list[str] | None = None, vocab_size: int = VOCAB) -> PreTrainedTokenizerFast:
    """Train a tokenizer of a few texts."""
    return train_tokenizer(texts or TEXTS, vocab_size)


def config(family: str, **changes: object) -> PretrainedConfig:
    """Return a small config; its dropouts are those a careless model folder comes with."""
    shape = {
        "vocab_size": VOCAB,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
        "attention_dropout": 0.1,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    gpt2 = {"vocab_size": VOCAB, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    ids = {"initializer_range": 0.3, "bos_token_id": 1, "eos_token_id": 2}
    makers = {
        "llama": lambda: LlamaConfig(**{**shape, "tie_word_embeddings": True, **changes}),
        "qwen2": lambda: Qwen2Config(**{**shape, **changes}),
        "gpt2": lambda: GPT2Config(**{**gpt2, **ids, **changes}),
        "mistral": lambda: MistralConfig(**{**shape, "sliding_window": 5, **changes}),
        "gemma2": lambda: Gemma2Config(
            **{
                **shape,
                "head_dim": 8,
                "sliding_window": 5,
                "final_logit_softcapping": 3.0,
                "query_pre_attn_scalar": 8,
                **changes,
            }
        ),
        "granite": lambda: GraniteConfig(**{**shape, "logits_scaling": 4.0, **changes}),
        "cohere": lambda: CohereConfig(**{**shape, "logit_scale": 0.25, **changes}),
    }
    return makers[family]()


def causal(family: str = "llama", seed: int = 0, **changes: object) -> PreTrainedModel:
    """Make a language model; fresh weights, evaluation mode."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(config(family, **changes)).eval()


def classifier(family: str = "llama", seed: int = 0, **changes: object) -> PreTrainedModel:
    """Make a one-label sequence classifier; fresh weights, evaluation mode."""
    torch.manual_seed(seed)
    asked = config(family, num_labels=1, pad_token_id=0, **changes)
    return AutoModelForSequenceClassification.from_config(asked).eval()


def write(network: PreTrainedModel, folder: Path, *, num_stops: int = NUM_STOPS) -> str:
    """Write a Hugging Face folder with its tokenizer; the first few ids all end a response."""
    if hasattr(network, "generation_config") and network.generation_config is not None:
        network.generation_config.eos_token_id = list(range(2, 2 + num_stops))
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return str(folder)


def experiment(backend: str = "torch", **sections: dict[str, object]) -> Experiment:
    """Return settings for roles in this process (torch) or on Ray (deepspeed)."""
    wanted: dict[str, dict[str, object]] = {
        "engine": {"backend": backend},
        "cluster": {"backend": "in_process" if backend == "torch" else "ray", "timeout_s": 120.0},
        "generation": {"max_new_tokens": 8, "temperature": 0.8, "batch_size": 4},
        "ppo": {"rollout_batch_size": 8, "minibatch_size": 4, "num_epochs": 2},
        "policy": {"optimizer": optimizer()},
        "value": {"optimizer": optimizer()},
        "sft": {"optimizer": optimizer()},
        "reward_model": {"optimizer": optimizer()},
    }
    for name, changes in sections.items():
        wanted[name] = {**wanted.get(name, {}), **changes}
    return load(wanted)


def optimizer(**changes: object) -> dict[str, object]:
    """Return AdamW settings under which rounding is not magnified, from the first update on."""
    return {"lr": 3e-3, "eps": 1e-3, "warmup_steps": 0, **changes}


def ragged(num_rows: int = 7, *, longest: int = 9, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return (tokens_BT right-padded with zeros, lengths_B), lengths from 2 to longest."""
    draw = torch.Generator().manual_seed(seed)
    lengths_B = 2 + torch.arange(num_rows) * 3 % (longest - 1)
    tokens_BT = torch.randint(30, VOCAB - 8, (num_rows, longest), generator=draw)
    width = int(lengths_B.max())
    return (tokens_BT * length_mask(lengths_B, longest))[:, :width], lengths_B


def prompts(num_rows: int = 7, *, first_sample: int = 0, seed: int = 0) -> PromptBatch:
    """Return ragged prompts."""
    tokens_BP, lengths_B = ragged(num_rows, seed=seed)
    return PromptBatch(
        tokens_BP=tokens_BP,
        lengths_B=lengths_B,
        sample_B=torch.arange(num_rows) + first_sample,
        prompts=tuple(f"prompt {row}" for row in range(num_rows)),
        columns=tuple({"row": row} for row in range(num_rows)),
    )


def demonstrations(num_rows: int = 7, seed: int = 3) -> Demonstrations:
    """Return ragged texts; the first token of each is not learned."""
    tokens_BT, lengths_B = ragged(num_rows, seed=seed)
    mask_BT = length_mask(lengths_B, tokens_BT.shape[1])
    mask_BT[:, 0] = False
    return Demonstrations(tokens_BT=tokens_BT, lengths_B=lengths_B, loss_mask_BT=mask_BT)


def rankings(num_rows: int = 7, num_answers: int = 3, seed: int = 5) -> Rankings:
    """Return ragged ranked answers; every other row lacks the last one."""
    tokens_BT, lengths_B = ragged(num_rows * num_answers, seed=seed)
    tokens_BKT = tokens_BT.reshape(num_rows, num_answers, -1).clone()
    lengths_BK = lengths_B.reshape(num_rows, num_answers).clone()
    lengths_BK[::2, -1] = 0
    tokens_BKT[::2, -1] = 0
    return Rankings(
        tokens_BKT=tokens_BKT, lengths_BK=lengths_BK, margin_B=torch.linspace(0, 1, num_rows)
    )


def rollout(num_rows: int = 7, seed: int = 1) -> Rollout:
    """Return a rollout nobody wrote: ragged prompts and responses."""
    tokens_BT, lengths_B = ragged(num_rows, longest=13, seed=seed)
    prompt_lengths_B = (lengths_B // 2).clamp(min=1)
    response_lengths_B = lengths_B - prompt_lengths_B
    return Rollout(
        tokens_BT=tokens_BT,
        prompt_lengths_B=prompt_lengths_B,
        response_lengths_B=response_lengths_B,
        finished_B=torch.arange(num_rows) % 2 == 0,
        sampling_logprobs_BR=torch.zeros(num_rows, int(response_lengths_B.max())),
        prompts=tuple(f"prompt {row}" for row in range(num_rows)),
        columns=tuple({"row": row} for row in range(num_rows)),
    )


def experience(
    written: Rollout, logprobs_BR: Tensor, values_BR: Tensor, seed: int = 2
) -> Experience:
    """Return an experience with drawn advantages and returns."""
    draw = torch.Generator().manual_seed(seed)
    mask_BR = written.response_mask_BR
    return Experience(
        tokens_BT=written.tokens_BT,
        prompt_lengths_B=written.prompt_lengths_B,
        response_lengths_B=written.response_lengths_B,
        old_logprobs_BR=logprobs_BR,
        old_values_BR=values_BR,
        advantages_BR=torch.randn(mask_BR.shape, generator=draw) * mask_BR,
        returns_BR=torch.randn(mask_BR.shape, generator=draw) * mask_BR,
    )


def settings(*, max_tokens: int = 4096, **ppo: object) -> Settings:
    """Return what roles need to know of a run."""
    return Settings(
        ppo=experiment(ppo=ppo).ppo,
        seed=0,
        precision="fp32",
        longest_response=8,
        max_tokens=max_tokens,
        policy_ranks=1,
    )


def alone() -> World:
    """Return the world of one process."""
    return World()
