"""Tracking: the word off survives YAML, which reads it as false."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from rlhf.config.observe import TrackingConfig


def test_false_means_off_and_true_means_nothing():
    assert TrackingConfig.model_validate({"wandb": False}).wandb == "off"
    assert TrackingConfig.model_validate({"wandb": "offline"}).wandb == "offline"
    with pytest.raises(ValidationError):
        TrackingConfig.model_validate({"wandb": True})
