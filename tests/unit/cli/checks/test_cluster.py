"""Cluster: too small, not there, open to anybody, or with nodes that differ."""

from __future__ import annotations

import pytest
import torch

from rlhf.cli.checks.check import Caution
from rlhf.cli.checks.cluster import (
    look_at_cluster,
    look_at_nodes,
    look_at_token,
)
from rlhf.errors import ConfigError


@pytest.fixture(autouse=True)
def nobody_said_anything(monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_roles_that_fit(case):
    assert look_at_cluster(case()) == "in this process: policy 1, reference 1, reward 1, value 1"


def test_more_ranks_than_cores(case):
    with pytest.raises(ConfigError, match=r"cluster\.policy\.ranks=999"):
        look_at_cluster(case(backend="deepspeed", cluster={"policy": {"ranks": 999}}))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has what is asked for")
def test_gpus_that_are_not_there(case):
    asked = case(backend="deepspeed", cluster={"gpus_per_rank": 1})
    with pytest.raises(ConfigError, match="GPU"):
        look_at_cluster(asked)


@pytest.mark.skipif(not torch.accelerator.is_available(), reason="needs an idle GPU")
def test_gpus_left_idle(case):
    assert isinstance(look_at_cluster(case(backend="deepspeed")), Caution)


def test_who_asks_for_gpus(case):
    assert not case().experiment.cluster.wants_gpus
    assert case(cluster={"gpus_per_rank": 0.25}).experiment.cluster.wants_gpus
    assert case(cluster={"value": {"gpus": 1}}).experiment.cluster.wants_gpus


def test_a_cluster_that_anybody_may_enter(case, monkeypatch):
    assert look_at_token(case(backend="deepspeed")) == "local is not open to others"
    assert look_at_token(case()) == "no Ray is used"
    open_to_all = case(backend="deepspeed", cluster={"address": "10.0.0.1:6379"})
    with pytest.raises(ConfigError, match=r"address=10\.0\.0\.1:6379: whoever reaches it"):
        look_at_token(open_to_all)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert isinstance(look_at_token(open_to_all), Caution)


def test_nodes_are_asked_only_where_there_are_others(case):
    assert look_at_nodes(case(backend="deepspeed")) == "this machine alone"
