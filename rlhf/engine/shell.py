"""A module's structure without its weights, to be filled with whole weights for a while."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


def empty_copy(module: nn.Module) -> nn.Module:
    """Copy structure and buffers, not weights; weights that are tied stay tied."""
    shell = copy.deepcopy(module)
    for name, _ in module.named_parameters():
        set_parameter(shell, name, torch.empty(0, device="meta"))
    return shell.eval()


def kept_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that a model folder keeps, by name: those in the module's state dict."""
    kept = module.state_dict(keep_vars=True)
    return {name: buffer for name, buffer in module.named_buffers() if name in kept}


def exact_parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return copies of those parameters that are float32 among others of less precision.

    Transformers keeps such (`_keep_in_fp32_modules_strict`), as peft does with adapters.
    """
    held = dict(module.named_parameters())
    if all(parameter.dtype == torch.float32 for parameter in held.values()):
        return {}
    return {n: p.detach().clone() for n, p in held.items() if p.dtype == torch.float32}


def set_parameter(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in a parameter's place, wherever the module uses that parameter."""
    shared = module.get_parameter(name)
    fresh = nn.Parameter(tensor, requires_grad=False)
    for owner in module.modules():
        for key, parameter in owner.named_parameters(recurse=False):
            if parameter is shared:
                setattr(owner, key, fresh)
