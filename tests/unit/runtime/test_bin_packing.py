"""Bin packing: which slots fit where, GPU by GPU and node by node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.runtime.bin_packing import (
    NodeCapacity,
    ResourceRequest,
    gpus_of,
    hosts,
    pack,
    requests_of,
)


def node(name, *, gpus=0.0, cpus=8.0):
    return NodeCapacity(name=name, cpus=cpus, gpus=4, free_cpus=cpus, free_gpus=gpus)


def packed(requests, nodes, cpus=0.01):
    found = pack(requests, nodes, cpus)
    return {role: [node.name for node in given] for role, given in found.items()}


def request(role, ranks, gpus):
    return ResourceRequest(role=role, ranks=ranks, gpus=gpus)


def test_two_halves_are_no_whole_gpu():
    halves = [node("a", gpus=0.5), node("b", gpus=0.5)]
    assert packed([request("policy", 1, 1.0)], halves) == {}
    assert packed([request("policy", 2, 0.5)], halves) == {"policy": ["a", "b"]}


def test_fractions_of_a_gpu_do_not_cross_gpus():
    requests = [request("policy", 3, 0.6)]
    assert packed(requests, [node("a", gpus=2.0)]) == {}
    assert packed(requests, [node("a", gpus=3.0)]) == {"policy": ["a"] * 3}


def test_the_rest_of_a_gpu_in_use_fits_a_fraction():
    assert packed([request("policy", 1, 0.4)], [node("a", gpus=1.4)]) == {"policy": ["a"]}
    assert packed([request("policy", 2, 1.0)], [node("a", gpus=1.9)]) == {}


def test_large_slots_go_first_in_any_order_of_requests():
    requests = [request("value", 2, 0.5), request("policy", 1, 1.0)]
    found = packed(requests, [node("a", gpus=2.0)])
    assert found == {"policy": ["a"], "value": ["a", "a"]}


def test_ranks_of_a_role_stay_together_where_they_can():
    requests = [request("policy", 2, 1.0), request("value", 3, 1.0)]
    nodes = [node("a", gpus=2.0), node("b", gpus=4.0)]
    assert packed(requests, nodes) == {"value": ["b"] * 3, "policy": ["a"] * 2}


def test_a_role_that_is_too_large_fills_node_after_node():
    nodes = [node("a", gpus=1.0), node("b", gpus=3.0)]
    assert packed([request("policy", 4, 1.0)], nodes) == {"policy": ["b", "b", "b", "a"]}


def test_cores_limit_too():
    assert packed([request("policy", 3, 0.0)], [node("a", cpus=2.0)], cpus=1.0) == {}
    assert packed([request("policy", 3, 0.0)], [node("a", cpus=2.0)], cpus=0.66) == {
        "policy": ["a"] * 3
    }


def test_a_host_that_is_not_started_is_none():
    config = ClusterConfig(
        value=RolePlacement(colocate_with="reference"),
        reward=RolePlacement(colocate_with="policy"),
    )
    started = ["policy", "reward", "value"]
    assert hosts(config, started) == {"policy": "policy", "reward": "policy", "value": "value"}
    assert [request.role for request in requests_of(config, started)] == ["policy", "value"]


@pytest.mark.parametrize(("own", "expected"), ((None, 1.0), (0.0, 0.0), (0.5, 0.5)))
def test_gpus_of_a_role_are_its_own_or_everybodys(own, expected):
    config = ClusterConfig(gpus_per_rank=1.0, reward=RolePlacement(gpus=own))
    assert gpus_of(config, "reward") == expected


def test_a_run_among_several_has_its_share_of_every_node_and_no_more():
    idle = NodeCapacity(name="a", cpus=8, gpus=4, free_cpus=8, free_gpus=4, id="x")
    assert idle.share(1) == idle
    half = NodeCapacity(name="a", cpus=4, gpus=2, free_cpus=4, free_gpus=2, id="x")
    assert idle.share(2) == half
    busy = replace(idle, free_cpus=1, free_gpus=3)
    assert busy.share(2) == replace(half, free_cpus=1, free_gpus=2), "no more than is free"
