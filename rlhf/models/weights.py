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
from rlhf.models.outline import blaming, context_length, language_config_of, skeleton, text_options
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.scalar_model import normalisation

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SMALL_BYTES = 2**30
"""Folders up to this size are loaded, and run on a few tokens."""
MOST_BUFFERS = 2**30
"""Bytes that a network may take beside its weights."""
NO_ATTENTION = ("flex_attention",)
TOKENS = 8
SAME_LOGITS = 1e-3
"""Nats: where next-token logits differ by less (standard deviation), a policy says nothing."""


def check_weights(path: str, *, scored: bool) -> None:
    """Check a folder as check_tensors does, and run a small model on a few tokens.

    Raises:
        ModelError: naming what is missing, damaged, or of another model.
    """
    check_tensors(path, scored=scored)
    if is_small(path):
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
    _check_attention(path)
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


def is_small(path: str) -> bool:
    """Return whether a model is a local folder small enough to be tried before a run."""
    if not Path(path).is_dir():
        return False
    return sum(file.stat().st_size for file in weight_files(Path(path))) <= SMALL_BYTES


def _check_attention(path: str) -> None:
    """Refuse an attention that no model learns by on a CPU, where it compiles for minutes."""
    # transformers has no public name for what a config chose.
    chosen = getattr(language_config_of(path), "_attn_implementation", None)
    if chosen in NO_ATTENTION:
        raise ModelError(
            f"{path}: attn_implementation={chosen} in its config.json is not used here: its "
            "kernels are compiled anew for each shape of a batch, and cannot learn on a CPU; take "
            "it out, and transformers chooses sdpa"
        )


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
    for name, weight in network.named_parameters():
        if not weight.isfinite().all():
            raise ModelError(
                f"{path}: {name} holds numbers that are not finite; fetch or train the model again"
            )
    size = network.config.get_text_config().vocab_size
    tokens_1T = torch.arange(TOKENS)[None] % size
    with blaming(path, type(network).__name__), torch.no_grad():
        hidden_TH = base_of(network)(input_ids=tokens_1T)[0][0]
        logits_TV = None if scored else network(input_ids=tokens_1T).logits[0].float()
    finite = hidden_TH.isfinite().all() and not any(b.isnan().any() for b in network.buffers())
    rotary = [b for name, b in network.named_buffers() if name.endswith("inv_freq")]
    if not finite or not all(b.isfinite().all() for b in rotary):
        fault = "gives numbers that are not finite"
    elif torch.equal(hidden_TH, hidden_TH[:1].expand_as(hidden_TH)):
        fault = "gives the same numbers for all tokens"
    elif logits_TV is not None and float(logits_TV.std(-1).max()) < SAME_LOGITS:
        fault = (
            f"gives all next tokens one probability (its logits differ by less than {SAME_LOGITS})"
        )
    else:
        return
    raise ModelError(
        f"{path}: {fault}; a setting of its config.json (rope, eps) or its weights are damaged: "
        "fetch or train the model again"
    )
