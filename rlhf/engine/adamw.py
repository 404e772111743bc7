"""AdamW as every engine builds it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from rlhf.config.optimizer import OptimizerConfig


def build_adamw(parameters: Iterable[Tensor], config: OptimizerConfig) -> torch.optim.AdamW:
    """Return torch's AdamW (Loshchilov & Hutter 2019), fused; its rate is set at every step."""
    return torch.optim.AdamW(
        list(parameters),
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )
