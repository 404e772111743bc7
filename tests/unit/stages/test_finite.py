"""check_finite: the role, the response and the token of what is no number are named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlhf.errors import TrainingError
from rlhf.stages.finite import check_finite
from tests import models
from tests.unit.stages.test_experience import drawn

SOURCES = ("model", "length")


def scored():
    rollout = models.rollout()
    return rollout, replace(drawn(rollout), parts_BC=torch.ones(len(rollout), 2))


def test_numbers_at_padding_may_be_anything():
    rollout, scores = scored()
    poison_BR = scores.values_BR.masked_fill(~rollout.response_mask_BR, torch.nan)
    assert not rollout.response_mask_BR.all()
    check_finite(rollout, replace(scores, values_BR=poison_BR), SOURCES, 3)


@pytest.mark.parametrize(
    ("field", "role"),
    [
        ("logprobs_BR", "policy: log-probabilities"),
        ("ref_logprobs_BR", "reference: log-probabilities"),
        ("values_BR", "value: values"),
    ],
)
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_a_number_that_is_none_is_named_with_role_row_and_token(field, role, number):
    rollout, scores = scored()
    broken_BR = getattr(scores, field).clone()
    token = int(rollout.response_lengths_B[2]) - 1
    broken_BR[2, token] = broken_BR[4, 0] = number
    with pytest.raises(TrainingError) as caught:
        check_finite(rollout, replace(scores, **{field: broken_BR}), SOURCES, 3)
    first, remedy = str(caught.value).splitlines()
    assert first == (
        f"PPO step 3: {role} of 2 of {len(rollout)} responses are not finite, first "
        f"{number} in row 2 at response token {token} (prompt {rollout.prompts[2]!r})"
    )
    assert remedy.startswith("nothing was learned from this step; lower that role's")


def test_the_source_of_a_score_that_is_none_is_named():
    rollout, scores = scored()
    parts_BC = scores.parts_BC.clone()
    parts_BC[5, 1] = torch.nan
    with pytest.raises(TrainingError, match=r"reward length: scores of 1 of .* nan in row 5 \("):
        check_finite(rollout, replace(scores, parts_BC=parts_BC), SOURCES, 0)


def test_every_role_at_fault_has_a_line():
    rollout, scores = scored()
    broken = replace(
        scores, values_BR=scores.values_BR * torch.nan, logprobs_BR=scores.logprobs_BR / 0
    )
    with pytest.raises(TrainingError) as caught:
        check_finite(rollout, broken, SOURCES, 0)
    assert [line.split(":")[1] for line in str(caught.value).splitlines()[:2]] == [
        " policy",
        " value",
    ]
