"""Reserve: the plan holds on real nodes, and what is missing is reported, not waited for."""

from __future__ import annotations

import threading
import time

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.errors import ConfigError
from rlhf.runtime.reserve import RESERVE_S, live_nodes, reserve

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_groups")]
TABLE = ClusterConfig(
    gpus_per_rank=1.0,
    policy=RolePlacement(ranks=2),
    value=RolePlacement(colocate_with="policy"),
    reward=RolePlacement(ranks=1),
    timeout_s=3.0,
)


def quiet(line):
    raise AssertionError(line)


@ray.remote
def found():
    """Return this process's node, and the GPUs it was given."""
    context = ray.get_runtime_context()
    return context.get_node_id(), context.get_accelerator_ids()["GPU"]


@pytest.fixture
def all_gpus():
    """Hold every GPU, as another run would."""
    group = placement_group([{"GPU": 2}, {"GPU": 1}], name="rlhf ppo, process 7 on elsewhere")
    assert group.wait(30)
    yield group
    remove_placement_group(group)
    released()


def released():
    """Wait until the GPUs are free again."""
    for _ in range(100):
        if sum(node.free_gpus for node in live_nodes()) == 3:
            return
        time.sleep(0.1)
    raise AssertionError("the GPUs are still held")


def test_ranks_come_to_the_nodes_and_gpus_that_were_planned():
    plan, group = reserve(TABLE, ["policy", "reward", "value"], quiet)
    placed = {}
    for role in plan.rows:
        for rank, slot in enumerate(plan.slots(role)):
            strategy = PlacementGroupSchedulingStrategy(
                group, placement_group_bundle_index=slot.bundle
            )
            asked = found.options(
                num_cpus=slot.cpus, num_gpus=slot.gpus, scheduling_strategy=strategy
            )
            node, gpus = ray.get(asked.remote(), timeout=60)
            assert node == slot.node.id
            placed[role, rank] = (node, *gpus)
    remove_placement_group(group)
    released()
    # The policy's ranks share the node with two GPUs, the reward has the other node.
    assert placed["policy", 0][0] == placed["policy", 1][0] != placed["reward", 0][0]
    assert plan.slots("value")[0].bundle == plan.slots("policy")[0].bundle
    assert [slot.gpus for slot in plan.slots("policy")] == [0.5, 1.0]


def test_what_the_idle_cluster_does_not_have_is_refused_at_once():
    asked = TABLE.model_copy(update={"policy": RolePlacement(ranks=4), "timeout_s": 600.0})
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        reserve(asked, ["policy", "value"], quiet)
    assert time.monotonic() - start < RESERVE_S / 2
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the cluster has no room for policy: needed are 4 GPUs")
    assert [line.split(": ")[1] for line in lines[1:-1]] == [
        f"{each.gpus:g} of {each.gpus:g} GPUs and 16 of 16 CPUs free" for each in live_nodes()
    ]
    assert lines[-1] == "nearest plan that fits: cluster.policy.ranks=3"


@pytest.mark.usefixtures("all_gpus")
def test_what_others_hold_is_refused_within_the_deadline_with_their_names():
    notes = []
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        reserve(TABLE, ["policy"], notes.append)
    assert 2.5 < time.monotonic() - start < 10
    assert notes == ["other jobs hold the cluster; waiting up to 3 s for room"]
    message = str(caught.value)
    assert "needed are 2 GPUs" in message and ": 0 of 2 GPUs and" in message
    assert "nearest plan that fits: cluster.gpus_per_rank=0" in message
    assert "rlhf ppo, process 7 on elsewhere (3 GPUs, 0 CPUs)" in message


def test_a_cluster_that_gets_free_in_time_is_taken(all_gpus):
    patient = TABLE.model_copy(update={"timeout_s": 60.0})
    threading.Timer(1.0, remove_placement_group, (all_gpus,)).start()
    notes = []
    plan, group = reserve(patient, ["policy"], notes.append)
    assert len(notes) == 1 and len(plan.bundles) == 2
    remove_placement_group(group)


def test_a_run_among_several_is_told_and_takes_its_share_alone():
    share = "one of 2 runs at a time: at most 16 CPUs and 1.5 GPUs for each"
    notes = []
    one = TABLE.model_copy(update={"policy": RolePlacement(ranks=1)})
    plan, group = reserve(one, ["policy"], notes.append, num_runs=2)
    remove_placement_group(group)
    released()
    assert notes == [share] and len(plan.bundles) == 1
    with pytest.raises(ConfigError, match="no room for policy: needed are 2 GPUs"):
        reserve(TABLE, ["policy"], notes.append, num_runs=2)
    assert notes == [share] * 2
