"""Copies: a fresh network of the same class and config, and tensors put into it by name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlhf.models.exact import ATTRIBUTE

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def rebuild(network: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """Return a fresh network of the same class and config that holds the given weights."""
    fresh = fresh_copy(network)
    load_weights(fresh, weights)
    return fresh


def fresh_copy(network: PreTrainedModel) -> PreTrainedModel:
    """Return a network of the same class, config and generation config, without weights.

    Its buffers are copies, and it is saved under the names that the network was loaded by.
    """
    with torch.device("meta"):
        fresh = type(network)(copy.deepcopy(network.config))  # saving writes in its config
    if network.can_generate():
        fresh.generation_config = copy.deepcopy(network.generation_config)
    for name in {"_weight_conversions", ATTRIBUTE} & set(vars(network)):
        vars(fresh)[name] = vars(network)[name]
    for name, buffer in network.named_buffers():
        # Adapters may stand around the module that owns it.
        owner, _, own = name.replace(".base_layer.", ".").rpartition(".")
        setattr(fresh.get_submodule(owner), own, buffer.detach().cpu().clone())
    return fresh


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put copies of tensors into a network by name, each in its own dtype.

    Every weight and persistent buffer must be given; one that is tied, under any of its names.
    """
    kept = network.state_dict(keep_vars=True)
    given = {id(tensor): name for name, tensor in kept.items() if name in weights}
    fresh: dict[str, Tensor] = {}
    for name, tensor in kept.items():
        source = name if name in weights else given[id(tensor)]
        if source not in fresh:
            value = weights[source].clone().reshape(tensor.shape)
            fresh[source] = nn.Parameter(value) if isinstance(tensor, nn.Parameter) else value
        owner, _, own = name.rpartition(".")
        setattr(network.get_submodule(owner), own, fresh[source])
