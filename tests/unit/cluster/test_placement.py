"""The plan of processes: everybody gets a seat, or the message says what would fit."""

from __future__ import annotations

import pytest

from rlhf.cluster.placement import plan
from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.errors import ConfigError

ROLES = ["policy", "reference", "reward", "value"]


def test_four_roles_share_two_cores():
    seating = plan(ClusterConfig(), ROLES, cluster_cpus=2, cluster_gpus=0)
    bundles = seating.bundles()
    assert len(bundles) == 4
    assert sum(bundle["CPU"] for bundle in bundles) <= 2
    assert all(bundle["CPU"] == 0.5 and "GPU" not in bundle for bundle in bundles)


def test_no_rank_asks_for_more_than_one_core():
    seating = plan(ClusterConfig(), ["policy"], cluster_cpus=64, cluster_gpus=0)
    assert seating.bundles() == [{"CPU": 1.0}]


def test_seats_are_consecutive_and_disjoint():
    config = ClusterConfig(policy=RolePlacement(ranks=2), value=RolePlacement(ranks=3))
    seating = plan(config, ROLES, cluster_cpus=8, cluster_gpus=0)
    assert [seating.seats(role) for role in ROLES] == [[0, 1], [2], [3], [4, 5, 6]]
    assert seating.seats("nobody") == []


def test_more_ranks_than_cores_are_refused_unless_allowed():
    config = ClusterConfig(value=RolePlacement(ranks=3))
    with pytest.raises(ConfigError, match=r"cluster.value.ranks=3 .* nearest legal value: 2"):
        plan(config, ROLES, cluster_cpus=2, cluster_gpus=0)
    allowed = ClusterConfig(value=RolePlacement(ranks=3), oversubscribe=True)
    assert len(plan(allowed, ROLES, cluster_cpus=2, cluster_gpus=0).bundles()) == 6


def test_gpus_are_shared_in_fractions_and_must_be_there():
    config = ClusterConfig(gpus_per_rank=0.25)
    seating = plan(config, ROLES, cluster_cpus=4, cluster_gpus=1)
    assert all(bundle["GPU"] == 0.25 for bundle in seating.bundles())
    with pytest.raises(ConfigError, match=r"gpus_per_rank=0.5 .* nearest legal value: 0.25"):
        plan(ClusterConfig(gpus_per_rank=0.5), ROLES, cluster_cpus=4, cluster_gpus=1)
