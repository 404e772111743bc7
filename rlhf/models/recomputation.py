"""Recomputation: a network that keeps only its blocks' inputs, to learn in less memory.

Chen et al. 2016 (gradient checkpointing). A block of transformers recomputes only in training mode,
and drops the cache it is given; our networks are in evaluation mode, and samplers need the cache.
So the blocks themselves, not what is in them, are in training mode while `forward` of the model
around the network builds a graph, and at no other time: what they compute, the first time and
again, is in evaluation mode, as some blocks drop out by a number of their own where they train.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from rlhf.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def recompute_blocks(model: nn.Module) -> None:
    """Make a model (of this package, around a network) recompute its blocks in backward passes.

    Raises:
        ModelError: when the network has no blocks that can.
    """
    network: PreTrainedModel = model.network  # type: ignore[assignment]
    if not _blocks(model) or not network.supports_gradient_checkpointing:
        raise ModelError(
            f"engine.gradient_checkpointing=true: {type(model.network).__name__} has no blocks "
            "that transformers can recompute; use another family, or set it to false"
        )
    network.activation_checkpointing_enable({"use_reentrant": False})
    network.disable_input_require_grads()  # only reentrant recomputation needs such inputs
    for block in _blocks(model):
        kept = vars(block)
        kept["_gradient_checkpointing_func"] = _evaluating(
            block, kept["_gradient_checkpointing_func"]
        )
    model.register_forward_pre_hook(_begin)
    model.register_forward_hook(_end, always_call=True)


def _evaluating(block: nn.Module, recompute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a forward of a block that is recomputed, in evaluation mode both times."""

    def run(forward: Callable[..., Any], *inputs: Any) -> Any:
        def evaluated(*inputs: Any) -> Any:
            was_training, block.training = block.training, False
            try:
                return forward(*inputs)
            finally:
                block.training = was_training

        return recompute(evaluated, *inputs)

    return run


def _begin(model: nn.Module, _inputs: Any) -> None:
    for block in _blocks(model):
        block.training = torch.is_grad_enabled()


def _end(model: nn.Module, _inputs: Any, _outputs: Any) -> None:
    for block in _blocks(model):
        block.training = False


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Return the outermost blocks: one inside another is recomputed with it, and not by itself."""
    found: list[nn.Module] = []
    for module in model.children():
        found += [module] if isinstance(module, GradientCheckpointingLayer) else _blocks(module)
    return list(dict.fromkeys(found))
