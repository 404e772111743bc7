"""One Ray cluster for the whole session; its processes change roles and are never restarted.

It has two nodes on this machine, with GPUs that are only counted. Importing DeepSpeed takes seconds
a process, so there are few: two ranks, one rank beside the first of them, two of which one is
killed, and four ranks if a test of this session uses them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.runtime.group import Group
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.placement import Placement
from rlhf.runtime.timeline import Timeline
from tests.models import experiment
from tests.specs import SCALAR, on

CANARY = "hf_canary_4711"
"""A token that the ranks get, and that nobody may write down."""


@dataclass(frozen=True)
class Seated:
    """The session's groups."""

    cluster: object
    timeline: Timeline
    two: Group
    one: Group
    doomed: Group
    four: Group | None = None
    notes: list[str] = field(default_factory=list)
    """What the cluster told while it started."""
    plans: list[Placement] = field(default_factory=list)
    """What it announced."""


@pytest.fixture(scope="session")
def ray_nodes():
    """Start two nodes of Ray; gives the address."""
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    nodes.add_node(num_cpus=16, num_gpus=2, include_dashboard=False)
    nodes.add_node(num_cpus=16, num_gpus=1)
    yield nodes.address
    nodes.shutdown()


@pytest.fixture(scope="session")
def ray_groups(ray_nodes, request):
    """Start the groups."""
    from rlhf.runtime.ray_cluster import RayCluster

    timeline, notes, plans = Timeline(), [], []
    config = ClusterConfig(
        address=ray_nodes,
        policy=RolePlacement(ranks=2),
        reference=RolePlacement(colocate_with="policy"),
        value=RolePlacement(ranks=2),
        reward=RolePlacement(ranks=4),
        timeout_s=240.0,
        hang_s=250.0,
    )
    asked = any("four" in item.name for item in request.session.items)
    with RayCluster(config, timeline, threads=1) as cluster:
        roles = ["policy", "reference", "value", *(["reward"] if asked else [])]
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("HF_TOKEN", CANARY)
            groups = cluster.start(roles, note=notes.append, announce=plans.append)
        two, one, doomed = (groups[role] for role in ("policy", "reference", "value"))
        yield Seated(
            cluster, timeline, two, one, doomed, groups.get("reward"), notes=notes, plans=plans
        )


@pytest.fixture(scope="session")
def slot(request):
    """Give the group of a kind: `here` (this process), `one` rank on Ray, `two` or `four`."""
    here = InProcessGroup("policy", Timeline())

    def find(kind: str) -> Group:
        if kind == "here":
            return here
        placed_roles = request.getfixturevalue("ray_groups")
        return {"one": placed_roles.one, "two": placed_roles.two, "four": placed_roles.four}[kind]

    return find


@pytest.fixture
def play(slot, folder):
    """Make a role on a group; return its port."""

    def make(slots, kind, *, model=None, stage=0, fields=None, **sections):
        backend = "torch" if slots == "here" else "deepspeed"
        engine = {"backend": backend, "max_tokens_per_microbatch": 40, "zero_stage": stage}
        wanted = {"ppo": {}, **sections, "engine": {**engine, **sections.get("engine", {})}}
        model = model or ("classifier" if kind in SCALAR else "causal")
        asked = experiment(backend, **wanted)
        return on(slot(slots), kind, folder("llama", model), asked, **(fields or {}))

    return make
