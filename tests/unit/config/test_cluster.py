"""Placement of a role: its own settings, by its name."""

from __future__ import annotations

import pytest

from rlhf.config.cluster import ClusterConfig, RolePlacement


@pytest.mark.parametrize("role", ["policy", "reference", "reward", "value"])
def test_each_role_has_its_own_processes(role):
    config = ClusterConfig(**{role: RolePlacement(ranks=3, zero_stage=2)})
    assert config.placement(role).ranks == 3
    others = {"policy", "reference", "reward", "value"} - {role}
    assert all(config.placement(other).ranks == 1 for other in others)
