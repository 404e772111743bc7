"""NoValue: a baseline of zero that reports nothing."""

from __future__ import annotations

import torch

from rlhf.roles.no_value import NoValue
from tests.models import experience, rollout


def test_it_expects_nothing_and_learns_nothing():
    written = rollout(3)
    values_BR = NoValue().values(written).result()
    assert values_BR.shape == written.response_mask_BR.shape
    assert values_BR.abs().sum() == 0
    batch = experience(written, torch.zeros_like(values_BR), values_BR)
    assert NoValue().improve(batch, 0).result().means() == {}
