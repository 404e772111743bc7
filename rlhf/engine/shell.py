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


def set_parameter(module: nn.Module, name: str, tensor: Tensor) -> None:
    """Put a tensor in a parameter's place, wherever the module uses that parameter."""
    shared = module.get_parameter(name)
    fresh = nn.Parameter(tensor, requires_grad=False)
    for owner in module.modules():
        for key, parameter in owner.named_parameters(recurse=False):
            if parameter is shared:
                setattr(owner, key, fresh)
