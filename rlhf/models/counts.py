"""Counts: how many weights a model has and how many of them learn, without making a single one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.models.adapters import unadaptable
from rlhf.models.pretrained import new_causal_lm, skeleton

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of weights."""

    total: int
    learned: int
    """All, or the adapters alone."""


def count(path: str, peft: PeftConfig) -> Counts:
    """Count a folder's or a hub name's weights, by its config alone.

    Raises:
        ModelError: when there is no config.
    """
    return _counted(skeleton(path), peft)


def count_new(new: NewModelConfig, tokenizer: PreTrainedTokenizerBase, peft: PeftConfig) -> Counts:
    """Count the weights of a model that is yet to be made."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return _counted(new_causal_lm(new, tokenizer, 0), peft)


def _counted(network: PreTrainedModel, peft: PeftConfig) -> Counts:
    total = sum(parameter.numel() for parameter in network.parameters())
    return Counts(total, total if peft.method == "none" else _adapters(network, peft))


def _adapters(network: PreTrainedModel, peft: PeftConfig) -> int:
    """Count rank * (in + out) of every matrix that gets an adapter."""
    names = peft.target_modules.split(",")
    left_out = unadaptable(network) or []
    total = 0
    for name, module in network.named_modules():
        weight = dict(module.named_parameters(recurse=False)).get("weight")
        if weight is None or weight.dim() != 2 or isinstance(module, nn.Embedding):
            continue
        own = name.rpartition(".")[2]
        if own in names or (names == ["all-linear"] and own != "lm_head" and name not in left_out):
            total += peft.rank * sum(weight.shape)
    return total
