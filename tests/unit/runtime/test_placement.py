"""The plan of processes: every rank gets a slot, or the message names what would fit."""

from __future__ import annotations

import re
from collections import Counter

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.config.experiment import Experiment, cross_checks
from rlhf.errors import ConfigError
from rlhf.runtime.bin_packing import NodeCapacity
from rlhf.runtime.placement import COLUMNS, plan, table, where

ROLES = ["policy", "reference", "reward", "value"]


def node(name="a", *, cpus=8.0, gpus=0.0):
    return NodeCapacity(name=name, cpus=cpus, gpus=gpus, free_cpus=cpus, free_gpus=gpus)


def refused(config, roles, nodes):
    with pytest.raises(ConfigError) as caught:
        plan(config, roles, nodes)
    return str(caught.value)


def test_four_roles_share_two_cores():
    seating = plan(ClusterConfig(), ROLES, [node(cpus=2.0)])
    assert list(seating.bundles) == [{"CPU": 0.5}] * 4
    assert [seating.slots(role)[0].cpus for role in ROLES] == [0.5] * 4


def test_no_rank_asks_for_more_than_one_core():
    seating = plan(ClusterConfig(), ["policy"], [node(cpus=64.0)])
    assert seating.bundles == ({"CPU": 1.0},)


def test_cores_are_shared_so_that_every_node_has_room():
    config = ClusterConfig(policy=RolePlacement(ranks=6))
    seating = plan(config, ["policy"], [node("a", cpus=2.0), node("b", cpus=4.0)])
    assert Counter(slot.node.name for slot in seating.slots("policy")) == {"b": 4, "a": 2}
    crowded = ClusterConfig(policy=RolePlacement(ranks=8), oversubscribe=True)
    seating = plan(crowded, ["policy"], [node("a", cpus=2.0), node("b", cpus=4.0)])
    assert seating.bundles[0]["CPU"] == 0.66


def test_every_role_has_a_world_size_of_its_own():
    config = ClusterConfig(policy=RolePlacement(ranks=4), value=RolePlacement(ranks=2))
    seating = plan(config, ROLES, [node()])
    assert [[slot.bundle for slot in seating.slots(role)] for role in ROLES] == [
        [0, 1, 2, 3],
        [4],
        [5],
        [6, 7],
    ]


def test_ranks_beside_each_other_split_a_bundle():
    config = ClusterConfig(
        gpus_per_rank=1.0,
        policy=RolePlacement(ranks=2),
        reference=RolePlacement(ranks=2, colocate_with="policy"),
        value=RolePlacement(colocate_with="policy"),
    )
    seating = plan(config, ["policy", "reference", "value"], [node(gpus=2.0)])
    assert list(seating.bundles) == [{"CPU": 1.0, "GPU": 1.0}] * 2
    policy, reference, value = (seating.slots(r) for r in ("policy", "reference", "value"))
    assert [slot.bundle for slot in policy] == [slot.bundle for slot in reference] == [0, 1]
    assert value[0].bundle == 0
    # Three thirds, counted in ten-thousandths, are not more than one.
    assert [slot.gpus for slot in policy] == [0.3333, 0.5]
    assert value[0].gpus == 0.3333 == value[0].cpus


def test_beside_a_role_that_is_not_started_is_a_slot_of_its_own():
    config = ClusterConfig(gpus_per_rank=1.0, value=RolePlacement(colocate_with="reference"))
    seating = plan(config, ["policy", "value"], [node(gpus=2.0)])
    assert [seating.slots(role)[0].gpus for role in ("policy", "value")] == [1.0, 1.0]


def test_more_ranks_than_cores_are_refused_unless_allowed():
    config = ClusterConfig(value=RolePlacement(ranks=3))
    message = refused(config, ROLES, [node(cpus=2.0)])
    assert re.search(r"cluster.value.ranks=3 is more than the cluster's 2 cores", message)
    assert message.endswith("nearest plan that fits: cluster.value.ranks=2")
    allowed = ClusterConfig(value=RolePlacement(ranks=3), oversubscribe=True)
    assert len(plan(allowed, ROLES, [node(cpus=2.0)]).bundles) == 6


def test_what_is_missing_is_reported_by_node():
    config = ClusterConfig(gpus_per_rank=1.0, policy=RolePlacement(ranks=4))
    busy = NodeCapacity(name="10.0.0.2", cpus=8.0, gpus=4.0, free_cpus=3.5, free_gpus=1.0)
    message = refused(config, ["policy", "value"], [node("10.0.0.1", gpus=2.0), busy])
    assert message == (
        "the cluster has no room for policy: needed are 5 GPUs (slots x GPUs: policy 4 x 1, "
        "value 1 x 1) and 0.01 CPU a slot; free are 3 GPUs\n"
        "  10.0.0.1: 2 of 2 GPUs and 8 of 8 CPUs free\n"
        "  10.0.0.2: 1 of 4 GPUs and 3.5 of 8 CPUs free\n"
        "nearest plan that fits: cluster.policy.ranks=3 cluster.value.colocate_with=policy"
    )


def test_fractions_of_gpus_must_be_there():
    message = refused(ClusterConfig(gpus_per_rank=0.5), ROLES, [node(gpus=1.0)])
    assert message.endswith("nearest plan that fits: cluster.gpus_per_rank=0.25")
    seating = plan(ClusterConfig(gpus_per_rank=0.25), ROLES, [node(gpus=1.0)])
    assert all(bundle["GPU"] == 0.25 for bundle in seating.bundles)


def test_a_rank_has_one_gpu_at_most():
    message = refused(ClusterConfig(gpus_per_rank=2.0), ["policy"], [node(gpus=8.0)])
    assert message.startswith("cluster.gpus_per_rank=2, but a rank computes on one GPU")
    assert message.endswith("cluster.gpus_per_rank=1")


def test_two_ranks_of_a_role_get_no_fractions_of_gpus():
    config = ClusterConfig(policy=RolePlacement(ranks=2, gpus=0.5))
    message = refused(config, ["policy"], [node(gpus=2.0)])
    assert message.startswith("cluster.policy.gpus=0.5, but NCCL takes only one rank")
    assert message.endswith("cluster.policy.gpus=1")


def test_an_empty_cluster_has_no_nearest_plan():
    full = NodeCapacity(name="a", cpus=8.0, gpus=0.0, free_cpus=0.0, free_gpus=0.0)
    assert "no smaller plan fits either" in refused(ClusterConfig(), ROLES, [full])


def test_ranks_are_listed_by_node():
    assert where({0: "a", 1: "a", 2: "b", 3: "b"}) == "a: 0-1, b: 2-3"
    assert where({1: "a", 3: "a", 4: "a"}) == "a: 1, a: 3-4"
    many = where({rank: str(rank) for rank in range(9)})
    assert many == "0: 0, 1: 1, 2: 2, 3: 3, and 5 more"


def test_the_table_shows_what_was_requested_and_where_it_runs():
    config = ClusterConfig(
        gpus_per_rank=1.0,
        policy=RolePlacement(ranks=2, zero_stage=3, offload="optimizer"),
        value=RolePlacement(colocate_with="policy"),
    )
    rows = table(plan(config, ["policy", "value"], [node("10.0.0.1", gpus=2.0)]), 1)
    assert [dict(zip(COLUMNS, row, strict=True)) for row in rows] == [
        {
            "role": "policy",
            "ranks": "2",
            "GPUs each": "0.5 to 1",
            "with": "",
            "ZeRO stage": "3",
            "offload": "optimizer",
            "where": "10.0.0.1: 0-1",
        },
        {
            "role": "value",
            "ranks": "1",
            "GPUs each": "0.5",
            "with": "policy",
            "ZeRO stage": "1",
            "offload": "none",
            "where": "10.0.0.1: 0",
        },
    ]


@st.composite
def tables(draw):
    """Make a legal placement table."""
    host = draw(st.sampled_from(ROLES))
    most = draw(st.integers(1, 12))
    rows = {}
    for role in ROLES:
        beside = role != host and draw(st.booleans())
        ranks = draw(st.integers(1, most)) if beside else draw(st.integers(1, 12))
        gpus = None if beside else draw(st.sampled_from([None, 0.0, 0.25, 0.5, 1.0, 2.0]))
        colocate_with = host if beside else None
        rows[role] = RolePlacement(
            ranks=most if role == host else ranks, gpus=gpus, colocate_with=colocate_with
        )
    gpus_per_rank = draw(st.sampled_from([0.0, 0.3, 1.0]))
    return ClusterConfig(gpus_per_rank=gpus_per_rank, oversubscribe=draw(st.booleans()), **rows)


@st.composite
def clusters(draw):
    """Make a few nodes, partly in use."""
    nodes = []
    for index in range(draw(st.integers(1, 4))):
        cpus, gpus = draw(st.integers(1, 16)), draw(st.integers(0, 8))
        nodes.append(
            NodeCapacity(
                name=str(index),
                cpus=cpus,
                gpus=gpus,
                free_cpus=draw(st.integers(0, 10 * cpus)) / 10,
                free_gpus=draw(st.integers(0, 10 * gpus)) / 10,
            )
        )
    return nodes


started = st.sets(st.sampled_from(ROLES), min_size=1).map(sorted)


@settings(max_examples=150, deadline=None)
@given(tables(), clusters(), started)
def test_slots_fit_their_nodes_or_the_nearest_plan_does(config, nodes, roles):
    assert not list(cross_checks(Experiment(cluster=config)))
    try:
        seating = plan(config, roles, nodes)
    except ConfigError as error:
        remedy = str(error).splitlines()[-1]
        if remedy.startswith("no smaller plan fits"):
            assert all(each.free_cpus < 0.01 for each in nodes)
            return
        typed = remedy.removeprefix("nearest plan that fits: ").split()
        assert typed
        config = changed(config, typed)
        assert not list(cross_checks(Experiment(cluster=config)))
        seating = plan(config, roles, nodes)
    check(seating, nodes, config, roles)


def changed(config, typed):
    """Return the configuration after a user typed the settings."""
    settings = config.model_dump()
    for assignment in typed:
        name, _, value = assignment.partition("=")
        *path, last = name.split(".")[1:]
        section = settings[path[0]] if path else settings
        assert last in section
        section[last] = yaml.safe_load(value)
    return ClusterConfig(**settings)


def check(seating, nodes, config, roles):
    """Check that no resource is assigned twice, and that every rank has a slot."""
    used = Counter()
    for bundle, place in zip(seating.bundles, seating.nodes, strict=True):
        used[place.name, "CPU"] += bundle["CPU"]
        used[place.name, "GPU"] += bundle.get("GPU", 0.0)
    for each in nodes:
        assert used[each.name, "CPU"] <= each.free_cpus + 1e-6
        assert used[each.name, "GPU"] <= each.free_gpus + 1e-6
    in_bundle = Counter()
    for role in roles:
        slots = seating.slots(role)
        assert len(slots) == config.placement(role).ranks
        assert len({slot.bundle for slot in slots}) == len(slots)
        host = config.placement(role).colocate_with
        if host in roles:
            assert [s.bundle for s in slots] == [s.bundle for s in seating.slots(host)][
                : len(slots)
            ]
        for slot in slots:
            in_bundle[slot.bundle, "CPU"] += slot.cpus
            in_bundle[slot.bundle, "GPU"] += slot.gpus
            assert slot.cpus > 0
    for (bundle, kind), total in in_bundle.items():
        assert total <= seating.bundles[bundle].get(kind, 0.0) + 1e-9
