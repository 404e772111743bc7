"""Model folders that are damaged on purpose: each a name, and what it does to a good folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], None]
GONE = object()
"""In place of a value: the key is taken away."""
HUGE = 10**12
SIZES = {
    "llama": ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
              "intermediate_size", "vocab_size"),
    "qwen2": ("hidden_size", "num_hidden_layers", "num_key_value_heads", "intermediate_size"),
    "gpt2": ("n_embd", "n_layer", "n_head", "vocab_size", "n_inner"),
}  # fmt: skip
WRONG = {"text": "many", "negative": -3, "zero": 0, "huge": HUGE, "float": 2.5, "list": [1]}
NAN, INF = float("nan"), float("inf")
FILES = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
CONTENTS = {
    "empty": b"",
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "text": b'"text"',
    "cut": b'{"a": ',
    "bytes": b"\xff\xfe\x00\x01",
    "deep": b"[" * 100_000,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "llama": {
        "unknown activation": {"hidden_act": "swoosh"},
        "activation of no text": {"hidden_act": 7},
        "heads that do not divide": {"num_attention_heads": 5},
        "key heads that do not divide": {"num_key_value_heads": 3},
        "unknown rope": {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
        "rope of text": {"rope_parameters": "linear"},
        "rope of a list": {"rope_parameters": [1, 2]},
        "rope theta of text": {"rope_parameters": {"rope_type": "default", "rope_theta": "big"}},
        "rope theta negative": {"rope_parameters": {"rope_type": "default", "rope_theta": -5.0}},
        "rope theta nan": {"rope_parameters": {"rope_type": "default", "rope_theta": NAN}},
        "rope factor of text": {"rope_parameters": {"rope_type": "linear", "factor": "x"}},
        "rope factor zero": {
            "rope_parameters": {"rope_type": "linear", "factor": 0, "rope_theta": 1e4}
        },
        "yarn without numbers": {"rope_parameters": {"rope_type": "yarn"}},
        "old rope of text": {"rope_scaling": "dynamic"},
        "eps nan": {"rms_norm_eps": NAN},
        "eps infinite": {"rms_norm_eps": INF},
        "eps of text": {"rms_norm_eps": "small"},
        "eps huge": {"rms_norm_eps": 1e9},
        "eps negative": {"rms_norm_eps": -1e-6},
        "head_dim odd": {"head_dim": 7},
        "head_dim huge": {"head_dim": HUGE},
        "another model": {"model_type": "qwen2"},
        "another shape of model": {"model_type": "gpt2"},
        "an encoder": {"model_type": "bert"},
        "an encoder-decoder": {"model_type": "t5"},
        "a vision model": {"model_type": "vit"},
        "unknown model": {"model_type": "llamalot"},
        "model type of a number": {"model_type": 5},
        "no model type": {"model_type": GONE, "architectures": GONE},
        "remote code": {"model_type": "own", "auto_map": {"AutoConfig": "code.Config"}},
        "one layer more": {"num_hidden_layers": 3},
        "one layer less": {"num_hidden_layers": 1},
        "vocabulary too small": {"vocab_size": 10},
        "vocabulary too large": {"vocab_size": 1000},
        "vocabulary nan": {"vocab_size": NAN},
        "positions of text": {"max_position_embeddings": "long"},
        "positions negative": {"max_position_embeddings": -1},
        "positions huge": {"max_position_embeddings": 10**15},
        "tied of text": {"tie_word_embeddings": "yes"},
        "dropout of text": {"attention_dropout": "some"},
        "labels huge": {"num_labels": HUGE},
        "labels of text": {"id2label": "good"},
        "quantized by nobody": {"quantization_config": {"quant_method": "nobody"}},
        "quantized by text": {"quantization_config": "int3"},
        "dtype unknown": {"dtype": "float3"},
        "eos of text": {"eos_token_id": "end"},
        "nested text": {"text_config": {"hidden_size": "big"}},
        "attention unknown": {"attn_implementation": "telepathy"},
        "attention that compiles": {"attn_implementation": "flex_attention"},
        "another model of the same tensors": {"model_type": "gemma"},
        "the class of another model": {"architectures": ["GPT2LMHeadModel"]},
        "a method for a setting": {"save_pretrained": 1},
        "spread over machines": {"distributed_config": {"dp_size": 2}},
    },
    "qwen2": {
        "layer types of text": {"layer_types": "full"},
        "layer types unknown": {"layer_types": ["full_attention", "half_attention"]},
        "layer types too few": {"layer_types": ["full_attention"]},
        "window of text": {"use_sliding_window": True, "sliding_window": "wide"},
        "without its biases": {"model_type": "llama"},
        "of experts": {"model_type": "qwen2_moe"},
    },
    "gpt2": {
        "unknown activation": {"activation_function": "swoosh"},
        "heads that do not divide": {"n_head": 5},
        "positions too few": {"n_positions": 8},
        "positions huge": {"n_positions": HUGE},
        "eps nan": {"layer_norm_epsilon": NAN},
        "another model": {"model_type": "llama"},
        "one layer more": {"n_layer": 3},
        "one layer less": {"n_layer": 1},
        "dropout above one": {"resid_pdrop": 5.0},
        "positions of text": {"n_positions": "long"},
    },
}


def damages(family: str) -> Iterator[tuple[str, Damage]]:
    """Yield (name, damage) of everything that is done to a folder of one family."""
    for key in SIZES[family]:
        for kind, value in WRONG.items():
            yield f"{key} {kind}", changed({key: value})
    yield from ((name, changed(values)) for name, values in SETTINGS[family].items())
    for file in FILES:
        for kind, content in CONTENTS.items():
            yield f"{file}: {kind}", written(file, content)
        yield f"{file}: a folder", folder_at(file)
    yield from WEIGHTS.items()
    yield from OTHERS.items()


def changed(values: dict[str, Any], file: str = "config.json") -> Damage:
    """Change keys of a JSON file."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
        merged = {**content, **values}
        kept = {key: value for key, value in merged.items() if value is not GONE}
        (folder / file).write_text(json.dumps(kept))

    return damage


def written(file: str, content: bytes) -> Damage:
    """Put other bytes in a file."""
    return lambda folder: (folder / file).write_bytes(content) and None


def folder_at(file: str) -> Damage:
    """Put a folder where a file should be."""

    def damage(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        (folder / file).mkdir()

    return damage


def without(*files: str) -> Damage:
    """Take files away."""

    def damage(folder: Path) -> None:
        for file in files:
            (folder / file).unlink()

    return damage


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Damage:
    """Pass the tensors through a function."""

    def damage(folder: Path) -> None:
        tensors = change(load_file(folder / "model.safetensors"))
        save_file({k: t.contiguous() for k, t in tensors.items()}, folder / "model.safetensors",
                  metadata={"format": "pt"})  # fmt: skip

    return damage


def index(content: object, *, keep: bool = False) -> Damage:
    """Put an index of parts in place of the one file."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "part.safetensors")
        if not keep:
            (folder.parent / "elsewhere.safetensors").write_bytes(
                (folder / "part.safetensors").read_bytes()
            )
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / "model.safetensors.index.json").write_text(text)

    return damage


def pickled(content: object) -> Damage:
    """Put a pickle in place of the safetensors."""

    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        torch.save(content, folder / "pytorch_model.bin")

    return damage


def truncated(share: float) -> Damage:
    """Cut the weights."""

    def damage(folder: Path) -> None:
        content = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(content[: int(len(content) * share)])

    return damage


def _first(tensors: dict[str, torch.Tensor]) -> str:
    """A block's matrix."""
    return next(name for name, t in tensors.items() if t.dim() == 2 and ".0." in name)


def _without_first(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t for name, t in tensors.items() if name != _first(tensors)}


def _shorter_first(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, _first(tensors): tensors[_first(tensors)][:-1]}


def _not_finite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, _first(tensors): torch.full_like(tensors[_first(tensors)], NAN)}


def _map(file: object) -> dict[str, object]:
    return {"weight_map": {"model.norm.weight": file}}


WEIGHTS: dict[str, Damage] = {
    "weights: prefixed module.": weights(lambda t: {f"module.{name}": x for name, x in t.items()}),
    "weights: one is missing": weights(_without_first),
    "weights: one too many": weights(lambda t: {**t, "model.extra.weight": torch.ones(3)}),
    "weights: one of another shape": weights(_shorter_first),
    "weights: none": weights(lambda t: {}),
    "weights: of other names": weights(lambda t: {f"x{i}": x for i, x in enumerate(t.values())}),
    "weights: not finite": weights(_not_finite),
    "weights: whole numbers": weights(lambda t: {name: x.long() for name, x in t.items()}),
    "weights: true and false": weights(lambda t: {name: x.bool() for name, x in t.items()}),
    "weights: no file": without("model.safetensors"),
    "weights: a folder": folder_at("model.safetensors"),
    "weights: empty": written("model.safetensors", b""),
    "weights: text": written("model.safetensors", b"version of a large file, size 100\n"),
    "weights: header too long": written("model.safetensors", b"\xff" * 64),
    "weights: half": truncated(0.5),
    "weights: nearly all": truncated(0.999),
    "index: outside": index(_map("../elsewhere.safetensors")),
    "index: absolute": index(_map("/etc/passwd")),
    "index: no such file": index(_map("model-00009.safetensors")),
    "index: no map": index({"metadata": {}}),
    "index: a map of a list": index({"weight_map": ["part.safetensors"]}),
    "index: numbers": index(_map(3)),
    "index: empty map": index({"weight_map": {}}),
    "index: no object": index([1]),
    "index: no JSON": index("{"),
    "index: not all tensors": index(_map("model.safetensors.index.json")),
    "pickle: a list": pickled([1, 2]),
    "pickle: empty": pickled({}),
    "pickle: code": pickled({"a": Path("x")}),
    "pickle: other tensors": pickled({"a": torch.ones(2)}),
}
OTHERS: dict[str, Damage] = {
    "config gone": without("config.json"),
    "generation eos of text": changed({"eos_token_id": "end"}, "generation_config.json"),
    "generation eos negative": changed({"eos_token_id": [-1]}, "generation_config.json"),
    "generation eos of lists": changed({"eos_token_id": [[2]]}, "generation_config.json"),
    "adapter: no object": written("adapter_config.json", b"[]"),
    "adapter: an object": written("adapter_config.json", b'{"peft_type": "LORA"}'),
    "adapter: no JSON": written("adapter_config.json", b"{"),
    "special tokens: no object": written("special_tokens_map.json", b"[]"),
    "tokenizer class of a number": changed({"tokenizer_class": 3}, "tokenizer_config.json"),
    "eos token of a number": changed({"eos_token": 3}, "tokenizer_config.json"),
    "no eos token": changed({"eos_token": GONE}, "tokenizer_config.json"),
    "chat template of a number": changed({"chat_template": 3}, "tokenizer_config.json"),
    "longest text of text": changed({"model_max_length": "x"}, "tokenizer_config.json"),
    "tokenizer of another kind": changed(
        {"tokenizer_class": "BertTokenizer"}, "tokenizer_config.json"
    ),
    "tokenizer with an end that is none": changed(
        {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<gone>", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        },
        "tokenizer.json",
    ),
    "tokenizer model of text": changed({"model": "x"}, "tokenizer.json"),
    "tokenizer without a model": changed({"model": GONE}, "tokenizer.json"),
    "tokenizer gone": without("tokenizer.json", "tokenizer_config.json"),
    "added tokens of text": changed({"added_tokens": "x"}, "tokenizer.json"),
}
