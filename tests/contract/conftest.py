"""One Ray cluster for the whole session; its processes change parts and are never restarted.

It has two nodes on this machine, with GPUs that are only counted. Importing DeepSpeed takes seconds
a process, so there are only five: two ranks, one rank beside the first of them, and two of which
one is killed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rlhf.cluster.group import Group
from rlhf.cluster.in_process import InProcessGroup
from rlhf.cluster.placement import Placement
from rlhf.cluster.timeline import Timeline
from rlhf.config.cluster import ClusterConfig, RolePlacement


@dataclass(frozen=True)
class Seated:
    """The session's groups."""

    cluster: object
    timeline: Timeline
    two: Group
    one: Group
    doomed: Group
    notes: list[str] = field(default_factory=list)
    """What the cluster told while it started."""
    plans: list[Placement] = field(default_factory=list)
    """What it announced."""


@pytest.fixture(scope="session")
def ray_nodes():
    """Start two nodes of Ray; gives the address."""
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    nodes.add_node(num_cpus=8, num_gpus=2, include_dashboard=False)
    nodes.add_node(num_cpus=8, num_gpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(scope="session")
def ray_groups(ray_nodes):
    """Start the groups."""
    from rlhf.cluster.ray_cluster import RayCluster

    timeline, notes, plans = Timeline(), [], []
    config = ClusterConfig(
        address=ray_nodes,
        policy=RolePlacement(ranks=2),
        reference=RolePlacement(colocate_with="policy"),
        value=RolePlacement(ranks=2),
        timeout_s=120.0,
    )
    with RayCluster(config, timeline, threads=1) as cluster:
        groups = cluster.start(
            ["policy", "reference", "value"], note=notes.append, announce=plans.append
        )
        two, one, doomed = (groups[role] for role in ("policy", "reference", "value"))
        yield Seated(cluster, timeline, two, one, doomed, notes, plans)


@pytest.fixture(scope="session")
def seat(request):
    """Give the group of a kind: `here` (this process), `one` rank on Ray, or `two`."""
    here = InProcessGroup("policy", Timeline())

    def find(kind: str) -> Group:
        if kind == "here":
            return here
        seated = request.getfixturevalue("ray_groups")
        return {"one": seated.one, "two": seated.two}[kind]

    return find
