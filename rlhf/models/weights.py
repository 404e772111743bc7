"""Weights: whether a model folder's weights are those of its config, before anything loads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

from rlhf.errors import ModelError
from rlhf.models.families import base_of, left_out
from rlhf.models.fit import check_fit
from rlhf.models.folder import check_folder, stored_tensors, weight_files
from rlhf.models.outline import blaming, context_length, skeleton, text_options
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.scalar_model import normalisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SMALL_BYTES = 2**30
"""Folders up to this size are loaded, and run on a few tokens."""
MOST_BUFFERS = 2**30
"""Bytes that a network may take beside its weights."""
TOKENS = 8


def check_weights(path: str, *, scored: bool) -> None:
    """Check a folder as check_tensors does, and run a small model on a few tokens.

    Raises:
        ModelError: naming what is missing, damaged, or of another model.
    """
    check_tensors(path, scored=scored)
    files = weight_files(Path(path)) if Path(path).is_dir() else []
    if files and sum(file.stat().st_size for file in files) <= SMALL_BYTES:
        _run(path, scored=scored)


def check_tensors(path: str, *, scored: bool) -> None:
    """Check that a folder has the whole model of its config; of a hub name only the config.

    Names and shapes of the weights are compared with the network on torch's meta device, by
    transformers' own rules; no weight is loaded.

    Args:
        path: Local folder or hub name.
        scored: Whether a trained scalar head must be among the weights.

    Raises:
        ModelError: naming what is missing, damaged, or of another model.
    """
    check_folder(path)
    context_length(path)
    if not Path(path).is_dir():
        return
    network = skeleton(path, scalar=scored)
    _check_buffers(path, network)
    _check_quantization(path, network)
    network.name_or_path = path
    if scored:
        normalisation(network)
    fitted, info = _fitted(path, network)
    own_head: Iterable[str] = skeleton(path).state_dict() if scored else ()
    others = left_out(fitted, info["unexpected_keys"])
    check_fit(path, fitted, info, spare=lambda: [*own_head, *others])


def _check_buffers(path: str, network: PreTrainedModel) -> None:
    size = sum(buffer.numel() * buffer.itemsize for buffer in network.buffers())
    most = max(MOST_BUFFERS, sum(p.numel() * p.itemsize for p in network.parameters()))
    if size > most:
        raise ModelError(
            f"{path}: its config asks for {size / 2**30:,.0f} GiB of tables beside its weights; "
            "put the config of these weights back"
        )


def _check_quantization(path: str, network: PreTrainedModel) -> None:
    """Refuse what transformers would silently take for plain weights."""
    quantized = network.config.to_dict().get("quantization_config")
    method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized
    if quantized is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise ModelError(
            f"{path}: quantization_config names the method {method!r}, which transformers does not "
            "know; give a folder with plain weights"
        )


def _fitted(path: str, network: PreTrainedModel) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load the folder's tensors, without their numbers, into the network, without storage."""
    with blaming(path, type(network).__name__):
        loaded = type(network).from_pretrained(
            None,
            config=network.config,
            state_dict=stored_tensors(path),
            key_mapping=text_options(path).get("key_mapping"),
            device_map="meta",
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)


def _run(path: str, *, scored: bool) -> None:
    """Run the model on a few tokens: some configs fail only there.

    Raises:
        ModelError: when it fails, or returns NaN or infinity.
    """
    network = load_scalar(path, "trained") if scored else load_causal_lm(path)
    size = network.config.get_text_config().vocab_size
    with blaming(path, type(network).__name__), torch.no_grad():
        hidden_TH = base_of(network)(input_ids=torch.arange(TOKENS)[None] % size)[0][0]
    finite = hidden_TH.isfinite().all() and not any(b.isnan().any() for b in network.buffers())
    rotary = [b for name, b in network.named_buffers() if name.endswith("inv_freq")]
    if not finite or not all(b.isfinite().all() for b in rotary):
        fault = "gives numbers that are not finite"
    elif torch.equal(hidden_TH, hidden_TH[:1].expand_as(hidden_TH)):
        fault = "gives the same numbers for all tokens"
    else:
        return
    raise ModelError(
        f"{path}: {fault}; a setting of its config.json (rope, eps) or its weights are damaged: "
        "fetch or train the model again"
    )
