"""First ratio: until a step's first update the policy is the one scored, so all ratios are 1."""

from __future__ import annotations

from rlhf.errors import TrainingError
from rlhf.roles.learner import Update

K3 = "k3"
"""Statistic of an update: mean of ratio - 1 - log ratio, which is 0 where all ratios are 1."""
MOST_K3 = {"fp32": 1e-6, "bf16": 5e-3}
"""Nats a token that rounding may explain.

Scoring and update compute the same microbatches, so on a CPU it is exactly 0. Kernels that sum in
another order each time stay below: log-ratios of 1.4e-3 in fp32, of 0.1 in bf16, half of what
clipping allows. Pretrained weights in other microbatches have 5e-4 in bf16 (SmolLM2-135M).
"""


def check_first_ratio(update: Update, step: int, precision: str) -> None:
    """Look at the first update of a step; the mean decides, the largest ratio is only told.

    Raises:
        TrainingError: when scoring and update saw different models.
    """
    found, most = update.means[K3], MOST_K3[precision]
    if not found <= most:
        largest = update.peaks["log_ratio_max"]
        raise TrainingError(
            f"PPO step {step}: the first minibatch's ratios are off 1 by {found:.2g} nats a token "
            f"(k3; the largest log-ratio is {largest:.2g}; rule: at most {most:g} in "
            f"{precision}); scoring and update see different models: dropout, another temperature, "
            "or weights changed in between"
        )
