"""RayCluster: starts the groups it is asked for, and reports what is wrong with an address."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from rlhf.config.cluster import ClusterConfig
from rlhf.errors import ConfigError
from rlhf.runtime.ray_cluster import RayCluster, other_cluster, rank_environment, requests_kept
from rlhf.runtime.timeline import Timeline
from tests.contract.machines import Troublemaker
from tests.specs import on_every_rank

pytestmark = pytest.mark.ray
LOCAL = ClusterConfig(address="local")
HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_groups_have_the_ranks_and_names_of_their_roles(ray_groups):
    assert (ray_groups.two.name, ray_groups.two.size) == ("policy", 2)
    assert (ray_groups.one.name, ray_groups.one.size) == ("reference", 1)
    assert (ray_groups.doomed.name, ray_groups.doomed.size) == ("value", 2)


def test_the_plan_is_announced_and_the_nodes_are_named(ray_groups):
    (plan,) = ray_groups.plans
    assert list(plan.rows)[:3] == ["policy", "reference", "value"]
    (node,) = {slot.node.name for slot in plan.slots("policy")}
    assert ray_groups.notes[:2] == [
        f"policy is up, ranks by node: {node}: 0-1",
        f"reference is up, ranks by node: {node}: 0",
    ]


def test_ranks_have_the_drivers_variables_that_they_need_and_its_word_on_malloc():
    own = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0", "HF_HOME": "/models", "HOME": "/me"}
    assert rank_environment(own, 2, gpus=False) == {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0",
        "HF_HOME": "/models",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "2",
        "TOKENIZERS_PARALLELISM": "false",
    }
    assert rank_environment({}, 1, gpus=False)["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert rank_environment({}, 1, gpus=True).keys() == {
        "OMP_NUM_THREADS",
        "TOKENIZERS_PARALLELISM",
    }


@pytest.mark.skipif(
    not HUGE.is_file() or "[madvise]" not in HUGE.read_text() or os.environ.get("GLIBC_TUNABLES"),
    reason="the kernel gives huge pages to all or to none, or somebody set how malloc works",
)
def test_ranks_on_a_cpu_hold_large_tensors_in_huge_pages(slot):
    group = slot("one")
    group.become(Troublemaker)
    number = 64 * 2**20
    assert on_every_rank(group, "huge_bytes", number).result() > number // 2


def test_a_cluster_that_is_named_is_no_stranger():
    assert other_cluster(ClusterConfig(address="10.0.0.1:6379")) is None


def test_only_a_cluster_that_answers_is_another_one(tmp_path, ray_nodes):
    noted = tmp_path / "ray_current_cluster"
    assert other_cluster(LOCAL, noted) is None
    noted.write_text(f"{ray_nodes}\n")
    assert other_cluster(LOCAL, noted) == ray_nodes
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    for stale in (closed, ""):
        noted.write_text(stale)
        assert other_cluster(LOCAL, noted) is None


def test_an_address_where_something_else_listens_is_refused_before_ray_waits():
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"cluster.address={address}: no Ray cluster"):
            RayCluster(ClusterConfig(address=address), Timeline(), threads=1)


def test_a_request_to_end_means_what_it_meant_before():
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with requests_kept():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
