"""Epochs to steps."""

from __future__ import annotations

import pytest

from rlhf.data.stream import Stream
from rlhf.stages.epochs import num_steps
from tests import models


@pytest.mark.parametrize(
    ("epochs", "steps"), [(1.0, 4), (0.5, 2), (0.3, 2), (0.01, 1), (2.5, 10), (3.0, 12)]
)
def test_fractions_are_rounded_up_to_at_least_one(epochs, steps):
    train = Stream(models.demonstrations(10), 3, 0, "sft")
    assert num_steps(epochs, train) == steps
