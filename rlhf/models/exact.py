"""Exact: persistent buffers that are rounded while a model runs, and saved as they were loaded.

In bf16 transformers rounds a buffer unless its family excepts it (most families except a router's
correction bias). The forward is left as transformers has it; a folder gets the exact numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ATTRIBUTE = "exact_buffers"
"""Attribute of a network: mapping from name to buffer, float32, on the CPU."""
Loaded = tuple["PreTrainedModel", dict[str, Any]]


def loaded_exactly(loaded: Loaded, load: Callable[[type[PreTrainedModel]], Loaded]) -> Loaded:
    """Return what was loaded in bf16, with the numbers its rounded buffers have in the folder.

    Args:
        loaded: A network, and what came of loading it.
        load: Loads it again, as another class.
    """
    kind = type(loaded[0])
    kept = set(loaded[0].state_dict())
    buffers = {n: b for n, b in loaded[0].named_buffers() if n in kept}
    names = [name for name, buffer in buffers.items() if buffer.dtype == torch.bfloat16]
    if not names:
        return loaded
    del loaded, buffers
    strict = [*(kind._keep_in_fp32_modules_strict or ()), *names]  # pyright: ignore[reportPrivateUsage]
    network, info = load(type(kind.__name__, (kind,), {"_keep_in_fp32_modules_strict": strict}))
    network.__class__ = kind
    vars(network)[ATTRIBUTE] = {name: network.get_buffer(name).clone() for name in names}
    for name in names:
        _put(network, name, network.get_buffer(name).bfloat16())
    return network, info


def put_exact(network: PreTrainedModel) -> None:
    """Give buffers that are what they were, but for rounding, their exact numbers."""
    exact = cast("dict[str, Tensor]", vars(network).get(ATTRIBUTE, {}))
    for name, buffer in exact.items():
        held = network.get_buffer(name)
        rounded = buffer.to(held.dtype)
        if torch.equal(rounded, held.cpu()) and not torch.equal(rounded.float(), buffer):
            _put(network, name, buffer)


def _put(network: PreTrainedModel, name: str, buffer: Tensor) -> None:
    owner, _, own = name.rpartition(".")
    setattr(network.get_submodule(owner), own, buffer)
