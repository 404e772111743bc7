"""Cluster: too small, not there, open to anybody, or with nodes that differ."""

from __future__ import annotations

import pytest
import torch

from rlhf.checks.check import CheckWarning
from rlhf.checks.cluster import (
    check_access,
    check_cluster,
    check_nodes,
)
from rlhf.errors import ConfigError


@pytest.fixture(autouse=True)
def nobody_said_anything(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_roles_that_fit(context):
    assert check_cluster(context()) == "in this process: policy 1, reference 1, reward 1, value 1"


def test_more_ranks_than_cores(context):
    with pytest.raises(ConfigError, match=r"cluster\.policy\.ranks=999"):
        check_cluster(context(backend="deepspeed", cluster={"policy": {"ranks": 999}}))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has what is asked for")
def test_gpus_that_are_not_there(context):
    asked = context(backend="deepspeed", cluster={"gpus_per_rank": 1})
    with pytest.raises(ConfigError, match="GPU"):
        check_cluster(asked)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an idle GPU")
def test_gpus_left_idle(context):
    assert isinstance(check_cluster(context(backend="deepspeed")), CheckWarning)


def test_who_asks_for_gpus(context):
    assert not context().experiment.cluster.wants_gpus
    assert context(cluster={"gpus_per_rank": 0.25}).experiment.cluster.wants_gpus
    assert context(cluster={"value": {"gpus": 1}}).experiment.cluster.wants_gpus


def test_a_cluster_that_anybody_may_enter(context, monkeypatch):
    assert check_access(context(backend="deepspeed")) == "local is not open to others"
    assert check_access(context()) == "no Ray is used"
    open_to_all = context(backend="deepspeed", cluster={"address": "10.0.0.1:6379"})
    with pytest.raises(ConfigError, match=r"address=10\.0\.0\.1:6379: whoever reaches it"):
        check_access(open_to_all)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert isinstance(check_access(open_to_all), CheckWarning)


def test_nodes_are_asked_only_where_there_are_others(context):
    assert check_nodes(context(backend="deepspeed")) == "this machine alone"
