"""ModelShape: a network's sizes, read from its config alone; no weight is loaded or downloaded.

The network is built on torch's meta device, where tensors have shapes and no memory, so counts are
exact for every family that transformers knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.pytorch_utils import Conv1D

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.errors import ModelError
from rlhf.models.counts import gguf_config, num_adapted
from rlhf.models.families import language_config, provide_classifier
from rlhf.models.folder import check_layers
from rlhf.models.pretrained import new_config

CONFIG = "config.json"
HEADS = ("lm_head", "embed_out", "score")
"""Output layers, which adapters leave alone."""
Norm = Literal["rms", "zero_rms", "layer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """The sizes of one network that decide what it takes to run it."""

    family: str
    """model_type of its config."""
    num_weights: int
    """All of them; tied weights count once."""
    num_layers: int
    hidden: int
    """Width of the residual stream."""
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    vocab: int
    mlp_tensors: int
    """Tensors as wide as the MLP that a block's backward pass needs."""
    norms: int
    """Norms a block, over the residual stream."""
    norm: Norm
    """rms: in fp32, as Llama's. zero_rms: as Gemma's, its weight in fp32 too. layer: LayerNorm."""
    stores_scores: bool
    """Attention keeps its score matrix (caps on scores rule out fused kernels)."""
    splits_head: bool
    """Logits are a plain product of hidden states, so chunks of positions can be taken."""
    linears: tuple[tuple[str, int, int], ...]
    """(name, inputs, outputs) of every linear layer but the output layers."""
    plain_linears: tuple[int, ...]
    """Weights of every layer that is just torch's nn.Linear, output layers included."""
    block_weights: int
    """Weights of one block."""
    largest_weight: int
    """Numbers in the largest single tensor."""

    @property
    def attention_width(self) -> int:
        """Numbers a token of all queries."""
        return self.heads * self.head_width

    @property
    def key_width(self) -> int:
        """Numbers a token of all keys (and of all values)."""
        return self.kv_heads * self.head_width


def read_model_shape(path: str, *, scalar: bool = False) -> ModelShape:
    """Read a config.json: a file, a folder that holds one, or a hub name in the local cache.

    Args:
        path: Path of the config or of its folder, or the hub name.
        scalar: With one label in place of the language model's head.

    Raises:
        ModelError: when there is none, or the network is of a kind this cannot size.
    """
    return model_shape_of(read_config(path), path, scalar=scalar)


def read_config(path: str) -> Any:
    """Return the config of a file (GGUF too), of a folder that holds one, or of a cached hub name.

    Raises:
        ModelError: when there is none.
    """
    if path.endswith(".gguf"):
        return gguf_config(path)
    file = Path(path)
    folder = file.parent if file.name == CONFIG else file
    if (folder / CONFIG).is_file():
        check_layers(folder / CONFIG)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{path}: no config to size a model by ({reason}); give a folder with config.json, the "
            "config.json itself, or the name of a hub model that is in the local cache"
        ) from error
    return language_config(config, path)


def new_model_shape(config: NewModelConfig, *, scalar: bool = False) -> ModelShape:
    """Return the shape of a model made for the run, its vocabulary at its largest."""
    return model_shape_of(new_config(config, config.vocab_size), "policy.new", scalar=scalar)


def model_shape_of(config: Any, name: str, *, scalar: bool) -> ModelShape:
    """Build the network without memory, and measure it.

    Raises:
        ModelError: for mixtures of experts, whose blocks differ from token to token.
    """
    text = config.get_text_config()
    known = text.to_dict()
    network = _on_meta(config, name, scalar=scalar)
    blocks = _blocks(network)
    heads = int(text.num_attention_heads)
    linears = tuple(_linears(network))
    mlp_width, mlp_tensors = _mlp(blocks[0])
    norms = _norms(blocks[0], text.hidden_size)
    return ModelShape(
        family=config.model_type,
        num_weights=sum(p.numel() for p in network.parameters()),
        num_layers=len(blocks),
        hidden=int(text.hidden_size),
        heads=heads,
        kv_heads=int(known.get("num_key_value_heads") or heads),
        head_width=int(known.get("head_dim") or text.hidden_size // heads),
        mlp_width=mlp_width,
        vocab=int(text.vocab_size),
        mlp_tensors=mlp_tensors,
        norms=len(norms),
        norm=_norm_kind(norms[0]),
        stores_scores=network.config._attn_implementation == "eager",
        splits_head=not any(known.get(key) for key in _HEAD_EXTRAS),
        linears=linears,
        plain_linears=tuple(_plain_linears(network)),
        block_weights=sum(p.numel() for p in blocks[0].parameters()),
        largest_weight=max(p.numel() for p in network.parameters()),
    )


def _on_meta(config: Any, name: str, *, scalar: bool) -> Any:
    """Return the network without memory."""
    known = config.get_text_config().to_dict()
    if any("expert" in key and known[key] for key in known):
        raise ModelError(f"{name}: a mixture of experts ({config.model_type}); plans are for dense")
    if scalar:
        config.num_labels = 1
        provide_classifier(config)
    auto: Any = AutoModelForSequenceClassification if scalar else AutoModelForCausalLM
    with torch.device("meta"):
        return auto.from_config(config)


def adapter_weights(config: Any, name: str, peft: PeftConfig, *, scalar: bool) -> int:
    """Return the weights that learn with adapters, a scalar head's copy included: they are made.

    Raises:
        ModelError: when no layer is adapted.
    """
    return num_adapted(_on_meta(config, name, scalar=scalar), peft)


_HEAD_EXTRAS = ("final_logit_softcapping", "logits_scaling", "logit_scale")
"""Keys of configs whose logits are more than a product."""


def _blocks(network: nn.Module) -> nn.ModuleList:
    """Return the list of blocks: the longest list of modules there is."""
    lists = [module for module in network.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len)


def _linears(network: nn.Module) -> list[tuple[str, int, int]]:
    found: list[tuple[str, int, int]] = []
    for name, module in network.named_modules():
        if name.rpartition(".")[2] in HEADS:
            continue
        if isinstance(module, nn.Linear):
            found.append((name, module.in_features, module.out_features))
        elif isinstance(module, Conv1D):
            found.append((name, module.nx, module.nf))
    return found


def _plain_linears(network: nn.Module) -> list[int]:
    return [
        module.weight.numel()
        for module in network.modules()
        if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    ]


def _mlp(block: nn.Module) -> tuple[int, int]:
    """Return the MLP's width, and how many tensors of it the backward pass needs.

    Gated: gate, its activation, up, and their product. Plain: before and after the activation; an
    activation written out in Python (GPT-2's) keeps three more.
    """
    name, mlp = next(
        (name, child)
        for name, child in block.named_children()
        if "mlp" in name.lower() or "feed" in name.lower()
    )
    linears = _linears(mlp)
    written_out = any(type(m).__name__ == "NewGELUActivation" for m in mlp.modules())
    assert linears, name
    gated = len(linears) == 3 or linears[0][2] == 2 * linears[-1][1]
    return linears[-1][1], (4 if gated else 2) + (3 if written_out else 0)


def _norms(block: nn.Module, hidden: int) -> list[nn.Module]:
    return [
        module
        for module in block.modules()
        if "norm" in type(module).__name__.lower()
        and [p.shape[0] for p in module.parameters(recurse=False)][:1] == [hidden]
    ]


def _norm_kind(norm: nn.Module) -> Norm:
    if isinstance(norm, nn.LayerNorm):
        return "layer"
    return "zero_rms" if type(norm).__name__.startswith("Gemma") else "rms"
