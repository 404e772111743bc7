"""Reach: a cluster that is not there, or too small, is told in a moment."""

from __future__ import annotations

import socket
import time

import pytest

from rlhf.cluster.reach import address_of, check_reach
from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.errors import ConfigError


def test_auto_follows_the_environment(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert address_of(ClusterConfig()) == "local"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert address_of(ClusterConfig()) == "10.0.0.1:6379"
    assert address_of(ClusterConfig(address="local")) == "local"


def test_a_closed_port_is_refused_at_once():
    start = time.monotonic()
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        check_reach(ClusterConfig(address="127.0.0.1:9"), ["policy"])
    assert time.monotonic() - start < 6


def test_an_open_port_passes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reach(ClusterConfig(address=f"127.0.0.1:{port}"), ["policy"])


def test_what_is_no_address():
    with pytest.raises(ConfigError, match=r"is not HOST:PORT; nearest: local"):
        check_reach(ClusterConfig(address="somewhere"), ["policy"])


def test_too_many_ranks_for_this_machine_unless_asked_for():
    crowded = ClusterConfig(address="local", policy=RolePlacement(ranks=999))
    with pytest.raises(ConfigError, match=r"cluster\.policy\.ranks=999 is more than"):
        check_reach(crowded, ["policy"])
    check_reach(crowded, ["reward"])
    check_reach(crowded.model_copy(update={"oversubscribe": True}), ["policy"])


def test_in_process_needs_no_cluster():
    check_reach(ClusterConfig(backend="in_process", address="127.0.0.1:9"), ["policy"])
