"""Hugging Face folders in and out; every model the project runs comes through here.

Dropout is off everywhere: two forwards of one text must agree, or no ratio means anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.utils import logging as transformers_logging

from rlhf.checkpoint.files import writing
from rlhf.config.model import NewModelConfig
from rlhf.models.attention import widen_short_rows
from rlhf.models.exact import loaded_exactly, put_exact
from rlhf.models.families import (
    left_out,
    provide_classifier,
    save_as_text,
)
from rlhf.models.fit import check_fit
from rlhf.models.outline import blaming, from_pretrained, skeleton, text_options
from rlhf.models.pads import with_own_pad

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Network: TypeAlias = "PreTrainedModel"
"""A model of transformers, under a name for packages that do not import transformers."""
HeadKind = Literal["trained", "new", "zero"]
OLD_HEAD = "embed_out.weight"
"""What files of GPT-NeoX, Pythia's too, call the output embedding."""
PLAIN_OUTPUTS = {"return_dict": True, "output_attentions": False, "output_hidden_states": False}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

transformers_logging.set_verbosity_error()
transformers_logging.disable_progress_bar()


def load_causal_lm(path: str, precision: str = "fp32") -> PreTrainedModel:
    """Load a language model from a local folder or a hub name.

    Raises:
        ModelError: when there is none, it needs code from its own repository, or its weights are
            not those of its config.
    """
    network, info = load_with_info(AutoModelForCausalLM, path, precision, **text_options(path))
    check_fit(path, network, info, spare=lambda: left_out(network, info["unexpected_keys"]))
    return _settled(network)


def load_scalar(
    path: str, head: HeadKind, precision: str = "fp32", seed: int = 0
) -> PreTrainedModel:
    """Load a one-label sequence classifier.

    Args:
        path: Folder or hub name: of a classifier for head `trained`, else of any causal model.
        head: trained: the stored head, refused when there is none. new: normal with standard
            deviation 1 / sqrt(hidden + 1) (Stiennon et al. 2020). zero: all zeros.
        precision: fp32 or bf16.
        seed: Seed of the new head.

    Raises:
        ModelError: when the folder has no such model.
    """
    options = text_options(path)
    if head != "trained":
        options["config"].num_labels = 1
    with blaming(path, "AutoModelForSequenceClassification"):
        provide_classifier(options["config"])
    network, info = load_with_info(AutoModelForSequenceClassification, path, precision, **options)
    # A language model's own head may be there, unused.
    check_fit(
        path,
        network,
        info,
        new_head=head != "trained",
        spare=lambda: [
            *skeleton(path).state_dict(),
            OLD_HEAD,
            *left_out(network, info["unexpected_keys"]),
        ],
    )
    if head != "trained":
        _reset_head(network, head, seed)
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
        config: The model's sizes.
        vocab_size: Number of tokens of its tokenizer.
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

    return from_pretrained(
        AutoModelForCausalLM,
        str(file.parent),
        gguf_file=file.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(gguf_file=file.name, dequantize=True),
    )


def save_network(
    network: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Save a plain Hugging Face folder: config, safetensors, tokenizer, generation config.

    A scalar model's config and tokenizer name the same pad, one that ends no text: other software
    finds the end of a text by it.

    Raises:
        CheckpointError: when the disk is full or fails.
    """
    put_exact(network)
    with writing(folder, network.get_memory_footprint()):
        _save_network(network, folder, tokenizer)


def _save_network(
    network: PreTrainedModel, folder: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if network.can_generate():
        _save_generating(network, folder)
    else:
        tokenizer = with_own_pad(tokenizer, network.config.get_text_config().vocab_size)
        network.config.get_text_config().pad_token_id = tokenizer.pad_token_id
        network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    mode = (folder / "config.json").stat().st_mode
    for weights in folder.glob("*.safetensors"):
        weights.chmod(mode)  # else only the owner could read them


def _save_generating(network: PreTrainedModel, folder: Path) -> None:
    """Save its generation config as it was loaded, though transformers refuses odd ones."""
    from transformers import GenerationConfig

    own = network.generation_config
    network.generation_config = GenerationConfig()
    try:
        network.save_pretrained(folder)
    finally:
        network.generation_config = own
    assert own is not None
    own.to_json_file(folder / "generation_config.json", keys_to_pop=["compile_config"])


def load_with_info(
    auto: Any, path: str, precision: str, **options: Any
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a network; return it with its missing, unexpected and misshapen tensors."""
    asked = {"output_loading_info": True, "ignore_mismatched_sizes": True, **options}

    def load(kind: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
        return from_pretrained(kind, path, dtype=DTYPES[precision], **asked)

    return loaded_exactly(load(auto), load) if precision == "bf16" else load(auto)


def _reset_head(network: PreTrainedModel, head: HeadKind, seed: int) -> None:
    weight: nn.Parameter = network.get_submodule("score").weight  # type: ignore[assignment]
    noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    scale = (weight.shape[1] + 1) ** -0.5 if head == "new" else 0.0
    with torch.no_grad():
        weight.copy_(noise * scale)


def _settled(network: PreTrainedModel) -> PreTrainedModel:
    """Return the network without dropout, attending to short rows as this device does best.

    It returns what a call requests and no more, whatever else its config requests at every call.
    """
    save_as_text(network)
    for name, plain in PLAIN_OUTPUTS.items():
        if network.config.to_dict().get(name, plain) != plain:
            setattr(network.config, name, plain)
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
