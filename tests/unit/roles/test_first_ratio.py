"""The rule about first ratios is a mean, and knows rounding from another model."""

from __future__ import annotations

import pytest
import torch

from rlhf.errors import TrainingError
from rlhf.roles.first_ratio import K3, as_experience, checked_first_ratio, pretended
from rlhf.roles.learner import Report
from tests.models import prompts


def report(k3, largest):
    return Report(0.0, {K3: k3}, {"log_ratio_max": largest})


def k3_of(log_ratios):
    return float((log_ratios.exp() - 1 - log_ratios).mean())


def test_one_token_far_off_is_reported_and_decides_nothing():
    # SmolLM2-135M in other microbatches: 5e-4, and one token in a hundred is 0.2 off.
    assert "within 0.3" in checked_first_ratio(report(5e-4, 0.3), "bf16")
    assert checked_first_ratio(report(0.0, 0.0), "bf16") == "first ratio 1"


@pytest.mark.parametrize(
    ("precision", "log_ratio"), [("fp32", 2e-3), ("bf16", 0.15), ("bf16", torch.nan)]
)
def test_all_tokens_off_is_another_model(precision, log_ratio):
    off = k3_of(torch.full((64,), log_ratio))
    with pytest.raises(TrainingError, match="PPO step 3.*scoring and update see different models"):
        checked_first_ratio(report(off, log_ratio), precision, 3)


def test_one_wrong_row_among_many_is_another_model_in_bf16_too():
    rows_BR = torch.zeros(32, 16)
    rows_BR[5] = torch.linspace(-1.5, 1.5, 16)
    with pytest.raises(TrainingError, match="before training"):
        checked_first_ratio(report(k3_of(rows_BR), 1.5), "bf16")


def test_a_prompt_is_a_rollout_of_its_own_second_half():
    asked = prompts(5)
    rollout = pretended(asked)
    assert torch.equal(rollout.lengths_B, asked.lengths_B)
    assert (rollout.prompt_lengths_B >= rollout.response_lengths_B).all()
    assert (pretended(asked, share=0.01).response_lengths_B == 1).all()
    assert (pretended(asked, share=1.0).prompt_lengths_B == 1).all()
    assert torch.equal(rollout.tokens_BT, asked.tokens_BP)
    batch = as_experience(rollout, torch.zeros_like(rollout.sampling_logprobs_BR))
    assert float(batch.advantages_BR.abs().sum()) == 0
    lonely = asked.select([0])
    object.__setattr__(lonely, "lengths_B", torch.tensor([1]))
    assert pretended(lonely) is None
