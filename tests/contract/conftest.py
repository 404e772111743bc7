"""One Ray cluster for the whole session; its processes change parts and are never restarted.

Importing DeepSpeed takes seconds a process, so there are few: two ranks, one rank, one that is
killed, and four ranks if a test of this session seats anybody there.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rlhf.cluster.group import Group
from rlhf.cluster.in_process import InProcessGroup
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
    four: Group | None


@pytest.fixture(scope="session")
def ray_groups(request):
    """Start the cluster and its groups."""
    from rlhf.cluster.ray_cluster import RayCluster

    timeline = Timeline()
    config = ClusterConfig(
        address="local",
        policy=RolePlacement(ranks=2),
        reward=RolePlacement(ranks=4),
        timeout_s=240.0,
        oversubscribe=True,
    )
    asked = any("four" in item.name for item in request.session.items)
    with RayCluster(config, timeline, threads=1) as cluster:
        groups = cluster.start(["policy", "reference", "value", *(["reward"] if asked else [])])
        yield Seated(
            cluster,
            timeline,
            groups["policy"],
            groups["reference"],
            groups["value"],
            groups.get("reward"),
        )


@pytest.fixture(scope="session")
def seat(request):
    """Give the group of a kind: `here` (this process), `one` rank on Ray, `two` or `four`."""
    here = InProcessGroup("policy", Timeline())

    def find(kind: str) -> Group:
        if kind == "here":
            return here
        seated = request.getfixturevalue("ray_groups")
        return {"one": seated.one, "two": seated.two, "four": seated.four}[kind]

    return find
