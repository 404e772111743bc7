"""First ratio: until a step's first update the policy is the one scored, so all ratios are 1."""

from __future__ import annotations

import torch
from torch import Tensor

from rlhf.errors import TrainingError
from rlhf.flow.rollout import Experience, Rollout
from rlhf.flow.text import PromptBatch
from rlhf.roles.learner import Report

K3 = "k3"
"""Statistic of an update: mean of ratio - 1 - log ratio, which is 0 where all ratios are 1."""
MOST_K3 = {"fp32": 1e-6, "bf16": 5e-3}
"""Nats a token that rounding may explain.

Scoring and update compute the same microbatches, so on a CPU it is exactly 0. Kernels that sum in
another order each time stay below: log-ratios of 1.4e-3 in fp32, of 0.1 in bf16, half of what
clipping allows. Pretrained weights in other microbatches have 5e-4 in bf16 (SmolLM2-135M).
"""


def checked_first_ratio(report: Report, precision: str, step: int | None = None) -> str:
    """Check the first minibatch of a step; the mean decides, the largest ratio is only reported.

    Args:
        report: The update's report on the surrogate loss.
        precision: fp32 or bf16.
        step: Step of the stage; None in a rehearsal.

    Returns:
        A line with the mean and the largest ratio.

    Raises:
        TrainingError: when scoring and update used different models.
    """
    found, most, largest = report.means[K3], MOST_K3[precision], report.peaks["log_ratio_max"]
    if not found <= most:
        when = "before training" if step is None else f"PPO step {step}"
        raise TrainingError(
            f"{when}: the first minibatch's ratios are off 1 by {found:.2g} nats a token (k3; "
            f"the largest log-ratio is {largest:.2g}; rule: at most {most:g} in {precision}); "
            "scoring and update see different models: dropout, another temperature, or weights "
            "changed in between"
        )
    return "first ratio 1" if largest == 0 else f"first ratio 1 within {largest:.2g}"


def pretended(prompts: PromptBatch, *, share: float = 0.5) -> Rollout | None:
    """Return prompts as a rollout, the last share of each one's tokens as if it were generated.

    At least one token stays prompt, and one counts as response; None if no prompt has two tokens.
    """
    rows = prompts.select((prompts.lengths_B > 1).nonzero().squeeze(-1))
    if not len(rows):
        return None
    response_lengths_B = (rows.lengths_B * share).long()
    response_lengths_B = response_lengths_B.clamp(min=1).minimum(rows.lengths_B - 1)
    return Rollout(
        tokens_BT=rows.tokens_BP,
        prompt_lengths_B=rows.lengths_B - response_lengths_B,
        response_lengths_B=response_lengths_B,
        finished_B=torch.zeros(len(rows), dtype=torch.bool),
        sampling_logprobs_BR=torch.zeros(len(rows), int(response_lengths_B.max())),
        prompts=rows.prompts,
        columns=rows.columns,
    )


def as_experience(rollout: Rollout, logprobs_BR: Tensor) -> Experience:
    """Return an experience from which nothing is learned: advantages and returns are 0.

    Args:
        rollout: The whole rollout.
        logprobs_BR: The policy's log-probabilities of its tokens.
    """
    nothing_BR = torch.zeros_like(logprobs_BR)
    return Experience(
        tokens_BT=rollout.tokens_BT,
        prompt_lengths_B=rollout.prompt_lengths_B,
        response_lengths_B=rollout.response_lengths_B,
        old_logprobs_BR=logprobs_BR,
        old_values_BR=nothing_BR,
        advantages_BR=nothing_BR,
        returns_BR=nothing_BR,
    )
