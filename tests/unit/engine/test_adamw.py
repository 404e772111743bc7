"""AdamW: the settings arrive, and the first update is the textbook's."""

from __future__ import annotations

import torch

from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.adamw import build_adamw


def test_settings_arrive():
    config = OptimizerConfig(lr=0.1, betas=[0.8, 0.7], eps=1e-3, weight_decay=0.5)
    group = build_adamw([torch.zeros(2, requires_grad=True)], config).param_groups[0]
    assert (group["lr"], tuple(group["betas"]), group["eps"]) == (0.1, (0.8, 0.7), 1e-3)
    assert group["weight_decay"] == 0.5


def test_the_first_update_is_the_textbooks():
    # correctness 56: lr * g / (|g| + eps), so a large eps tames the first step.
    config = OptimizerConfig(lr=0.1, eps=1e-2, weight_decay=0.5)
    weight = torch.tensor([2.0, -1.0], requires_grad=True)
    weight.grad = torch.tensor([0.3, -0.02])
    build_adamw([weight], config).step()
    # Loshchilov & Hutter 2019, algorithm 2, at t = 1: both moments are debiased to the gradient.
    decayed = torch.tensor([2.0, -1.0]) * (1 - 0.1 * 0.5)
    gradient = torch.tensor([0.3, -0.02])
    torch.testing.assert_close(weight.detach(), decayed - 0.1 * gradient / (gradient.abs() + 1e-2))
