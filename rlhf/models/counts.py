"""Counts: how many weights a model has and how many of them learn, without making a single one."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.errors import ModelError
from rlhf.models.adapters import Adapter
from rlhf.models.outline import skeleton
from rlhf.models.pretrained import new_causal_lm

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

UNREADABLE = (OSError, ValueError, LookupError, TypeError, ArithmeticError, EOFError, struct.error)
"""What a file that is no GGUF file makes its reader raise."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of weights."""

    total: int
    learned: int
    """All, or the adapters alone."""


def count(path: str, peft: PeftConfig) -> Counts:
    """Count the weights of a folder, a hub name or a GGUF file, by its config alone.

    Raises:
        ModelError: when there is no config.
    """
    if not path.endswith(".gguf"):
        return _counted(skeleton(path), peft)
    with torch.device("meta"):
        return _counted(AutoModelForCausalLM.from_config(gguf_config(path)), peft)


def gguf_config(path: str) -> PreTrainedConfig:
    """Return the config in a GGUF file's own fields.

    Raises:
        ModelError: when it is no GGUF file, or of a family that transformers cannot read.
    """
    file = Path(path)
    try:
        return AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{path}: no GGUF file that can be read ({reason})") from error


def count_new(new: NewModelConfig, tokenizer: PreTrainedTokenizerBase, peft: PeftConfig) -> Counts:
    """Count the weights of a model that is yet to be made."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return _counted(new_causal_lm(new, tokenizer, 0), peft)


def num_adapted(network: PreTrainedModel, peft: PeftConfig) -> int:
    """Put adapters into a network without memory, and return how many of its weights learn.

    Raises:
        ModelError: when no module has one of the names in peft.target_modules.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        Adapter(network, peft, seed=0)
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def _counted(network: PreTrainedModel, peft: PeftConfig) -> Counts:
    total = sum(parameter.numel() for parameter in network.parameters())
    return Counts(total, total if peft.method == "none" else num_adapted(network, peft))
