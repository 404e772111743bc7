"""Prepacked: linear layers whose weights lie, for one rollout, as few rows are multiplied fastest.

A decode step has few rows, so its products wait for the weights, and a plain product arranges them
anew each time. oneDNN multiplies 32 rows with weights arranged beforehand 1.5 times as fast (576 to
1536, from memory); a whole rollout of 135M weights takes 8 % less, one of 6M about as long. The
copies live as long as the block: weights change between rollouts, and training needs its own order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeGuard

import torch
from torch import Tensor, nn

from rlhf.engine.memory import SHARE

LEAST_ROWS = {torch.float32: 2}
"""One row in fp32 is multiplied as fast as memory is read, and half as fast when arranged."""
ROWS = 32
"""Rows that the order is asked for; any number is right, and from 2 to 1,024 about as fast."""


def least_weights(dtype: torch.dtype) -> int:
    """Return the least number of weights of a layer that gains by it.

    In fp32, 576 x 192 and 256 x 688 gain nothing, 576 x 576 gains 1.2. In bf16, 576 x 192 gains
    1.2, a model of 256 x 256 and 256 x 688 gains 1.05.
    """
    return 2**18 if dtype == torch.float32 else 2**16


@contextmanager
def prepacked(network: nn.Module, spare: float) -> Iterator[None]:
    """Let a network's large linear layers multiply with arranged copies of their weights.

    Nothing happens where that does not pay or cannot be done: small layers, too little memory,
    another device, a processor or a torch without such products.

    Args:
        network: Its weights must stay as they are in the block. Under autocast the copies are in
            its dtype.
        spare: Bytes that may be allocated.
    """
    layers = [layer for layer in network.modules() if _is_plain(layer) and _pays(layer)]
    needed = sum(layer.weight.numel() * _dtype(layer).itemsize for layer in layers)
    if needed > SHARE * spare:
        layers.clear()
    try:
        for layer in layers:
            vars(layer)["forward"] = _product(layer)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _is_plain(layer: nn.Module) -> TypeGuard[nn.Linear]:
    """Return whether a layer is a linear one on the CPU with torch's own forward."""
    if not isinstance(layer, nn.Linear) or layer.weight.device.type != "cpu":
        return False
    return type(layer).forward is nn.Linear.forward and "forward" not in vars(layer)


def _pays(layer: nn.Linear) -> bool:
    dtype = _dtype(layer)
    return layer.weight.numel() >= least_weights(dtype) and _multiplies(dtype)


def _dtype(layer: nn.Linear) -> torch.dtype:
    """Return the dtype in which the layer multiplies."""
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu")
    return layer.weight.dtype


def _product(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return the layer's forward over an arranged copy of its weights."""
    dtype, plain = _dtype(layer), layer.forward
    least = LEAST_ROWS.get(dtype, 1) * layer.in_features
    held: Tensor | None = dict(layer.named_parameters(recurse=False)).get("bias")
    bias = None if held is None else held.detach().to(dtype)
    multiply = _arranged(layer.weight.detach().to(dtype), bias)

    def product(x: Tensor) -> Tensor:
        return multiply(x) if x.numel() >= least else plain(x)

    return product


def _arranged(weight_OI: Tensor, bias_O: Tensor | None) -> Callable[[Tensor], Tensor]:
    dtype, multiply = weight_OI.dtype, torch.ops.mkldnn._linear_pointwise
    copy = torch.ops.mkldnn._reorder_linear_weight(weight_OI, ROWS)
    return lambda x: multiply(x.to(dtype), copy, bias_O, "none", [], "")


@cache
def _multiplies(dtype: torch.dtype) -> bool:
    """Return, by a trial, whether this processor and this torch have such products."""
    draw = torch.Generator().manual_seed(0)
    weight_OI, x_BI = (torch.randn(n, 32, generator=draw).to(dtype) for n in (48, 8))
    try:
        found_BO = _arranged(weight_OI, None)(x_BI)
    except (AttributeError, RuntimeError):  # no such operation, or none for this dtype
        return False
    return torch.allclose(found_BO, x_BI @ weight_OI.T, rtol=0.02, atol=0.1)
