"""Hugging Face folders in and out; every model the project runs comes through here.

Dropout is off everywhere: two forwards of one text must agree, or no ratio means anything.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.utils import logging as transformers_logging

from rlhf.config.model import NewModelConfig
from rlhf.errors import ModelError
from rlhf.models.attention import widen_short_rows
from rlhf.models.families import (
    context_of,
    language_config,
    provide_classifier,
    renamed,
    save_as_text,
)

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

Network: TypeAlias = "PreTrainedModel"
"""A model of transformers, under the name that rooms without transformers know it by."""
HeadKind = Literal["trained", "new", "zero"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_causal_lm(path: str, precision: str = "fp32") -> PreTrainedModel:
    """Load a language model from a local folder or a hub name.

    Raises:
        ModelError: when there is none, or it needs code from its own repository.
    """
    network = _from_pretrained(AutoModelForCausalLM, path, dtype=DTYPES[precision], **_text(path))
    return _settled(network)


def num_weights(path: str) -> int:
    """Return how many weights a language model has, by its config alone.

    Raises:
        ModelError: when there is no config.
    """
    return sum(parameter.numel() for parameter in skeleton(path).parameters())


def skeleton(path: str) -> PreTrainedModel:
    """Return a language model without storage: its shapes alone, by its config.

    Raises:
        ModelError: when there is no config.
    """
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(language_config_of(path))


def language_config_of(path: str) -> PreTrainedConfig:
    """Return the config of a folder's or a hub name's causal language model.

    Raises:
        ModelError: when there is no config, or it is of no causal language model.
    """
    return language_config(_from_pretrained(AutoConfig, path), path)


def _text(path: str) -> dict[str, Any]:
    """Return what loads the text part of a folder that reads more than text."""
    config = _from_pretrained(AutoConfig, path)
    text = language_config(config, path)
    names = renamed(config, text)
    return {"config": text, "key_mapping": names} if names else {"config": text}


def load_scalar(
    path: str, head: HeadKind, precision: str = "fp32", seed: int = 0
) -> PreTrainedModel:
    """Load a one-label sequence classifier.

    Args:
        path: Folder or hub name: of a classifier for head `trained`, else of any causal model.
        head: trained: the stored head, refused when there is none. new: normal with standard
            deviation 1 / sqrt(hidden + 1) (Stiennon et al. 2020). zero: all zeros.
        precision: fp32 or bf16.
        seed: Of the new head.

    Raises:
        ModelError: when the folder cannot serve.
    """
    options = _text(path)
    if head != "trained":
        options["config"].num_labels = 1
    provide_classifier(options["config"])
    network, info = _from_pretrained(
        AutoModelForSequenceClassification,
        path,
        dtype=DTYPES[precision],
        output_loading_info=True,
        **options,
    )
    missing = sorted(key for key in info["missing_keys"] if "score" in key or "classifier" in key)
    if head == "trained" and missing:
        raise ModelError(
            f"{path}: no trained score head ({', '.join(missing)} is missing from its weights), so "
            "its scores would be noise; train it with `rlhf reward_model`, or give a trained one"
        )
    if head != "trained":
        _reset_head(network, head, seed)
    if network.config.get_text_config().pad_token_id is None:
        network.config.get_text_config().pad_token_id = (
            network.config.get_text_config().eos_token_id
        )
    return _settled(network)


def new_causal_lm(
    config: NewModelConfig, tokenizer: PreTrainedTokenizerBase, seed: int
) -> PreTrainedModel:
    """Make a small Llama with fresh weights, its vocabulary that of the tokenizer."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        new_config(
            config,
            len(tokenizer),
            bos_token_id=cast("int", tokenizer.bos_token_id),
            eos_token_id=cast("int", tokenizer.eos_token_id),
            pad_token_id=cast("int", tokenizer.pad_token_id),
        )
    )


def new_config(config: NewModelConfig, vocab_size: int, **special_ids: Any) -> LlamaConfig:
    """Return the shape of a small Llama.

    Args:
        config: Its sizes.
        vocab_size: Of its tokenizer.
        special_ids: bos_token_id, eos_token_id and pad_token_id.
    """
    return LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.hidden_size * 8 // 3 // 16 * 16 or 16,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_heads,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        **special_ids,
    )


def load_gguf(file: Path) -> PreTrainedModel:
    """Load a GGUF file's weights, de-quantized to float32, as an ordinary saveable model."""
    from transformers import GgufConfig

    return _from_pretrained(
        AutoModelForCausalLM,
        str(file.parent),
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
    )


def context_length(path: str) -> int | None:
    """Return the longest sequence a model takes, in tokens; None when its config does not say."""
    return context_of(language_config_of(path))


def stated(path: str, name: str) -> int | None:
    """Return a number of a model's config by transformers' name; None when it does not say.

    Raises:
        ModelError: when there is no config.
    """
    text = language_config_of(path)
    return text.to_dict().get(text.attribute_map.get(name, name))


def stop_ids(path: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the token ids that end a response: the tokenizer's EOS and the model's own."""
    from transformers import GenerationConfig

    ids = {cast("int", tokenizer.eos_token_id)}
    if (Path(path) / "generation_config.json").is_file():
        own: int | list[int] | None = GenerationConfig.from_pretrained(path).eos_token_id
        ids.update(own if isinstance(own, list) else [] if own is None else [own])
    return tuple(sorted(ids))


def absent_ids(path: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Return the rows of a model's embedding that stand for no token: often it is rounded up."""
    rows = stated(path, "vocab_size") or 0
    return tuple(sorted(set(range(rows)) - set(tokenizer.get_vocab().values())))


def save_network(
    network: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Write a plain Hugging Face folder: config, safetensors, tokenizer, generation config."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    mode = (folder / "config.json").stat().st_mode
    for weights in folder.glob("*.safetensors"):
        weights.chmod(mode)  # else only the owner could read them


def rebuild(network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """Return a fresh network of the same class and config that holds the given weights."""
    fresh = fresh_copy(network)
    load_weights(fresh, weights)
    return fresh


def fresh_copy(network: PreTrainedModel) -> PreTrainedModel:
    """Return a network of the same class, config and end-of-response tokens; weights are new."""
    fresh = type(network)(copy.deepcopy(network.config))  # saving writes in its config
    if network.can_generate():
        # Several ids may end a response, and only the generation config knows them all.
        fresh.generation_config.eos_token_id = network.generation_config.eos_token_id  # type: ignore[union-attr]
    return fresh


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a network by name; every parameter must be given."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.data = weights[name].to(parameter.dtype).clone().reshape(parameter.shape)
    dtypes = {weights[name].dtype for name, _ in network.named_parameters()}
    if len(dtypes) == 1:
        network.to(dtypes.pop())


def _from_pretrained(auto: Any, path: str, **options: Any) -> Any:
    try:
        return auto.from_pretrained(path, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{path}: not a model {auto.__name__} can load ({reason}); give a local folder with "
            "config.json and safetensors, or the name of a model on the hub"
        ) from error


def _reset_head(network: PreTrainedModel, head: HeadKind, seed: int) -> None:
    weight: nn.Parameter = network.get_submodule("score").weight  # type: ignore[assignment]
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    scale = (weight.shape[1] + 1) ** -0.5 if head == "new" else 0.0
    with torch.no_grad():
        weight.copy_(noise * scale)


def _settled(network: PreTrainedModel) -> PreTrainedModel:
    """Return the network without dropout, attending to short rows as this device does best."""
    save_as_text(network)
    for name in ("attention_dropout", "attn_pdrop", "resid_pdrop", "embd_pdrop", "hidden_dropout"):
        if name in network.config.to_dict():
            setattr(network.config, name, 0.0)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif "attention_dropout" in vars(module):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    widen_short_rows(network)
    return network.eval()
