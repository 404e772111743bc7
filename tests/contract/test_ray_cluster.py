"""RayCluster: seats the groups it is asked for, and says what is wrong with an address."""

from __future__ import annotations

import pytest

from rlhf.cluster.ray_cluster import other_cluster
from rlhf.config.cluster import ClusterConfig

pytestmark = pytest.mark.ray


def test_groups_have_the_ranks_and_names_of_their_roles(ray_groups):
    assert (ray_groups.two.name, ray_groups.two.size) == ("policy", 2)
    assert (ray_groups.one.name, ray_groups.one.size) == ("reference", 1)
    assert (ray_groups.doomed.name, ray_groups.doomed.size) == ("value", 1)


def test_a_cluster_that_is_named_is_no_stranger():
    assert other_cluster(ClusterConfig(address="10.0.0.1:6379")) is None
