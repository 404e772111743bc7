"""Reach: a cluster that is not there, or too small, is reported in a moment."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.errors import ConfigError
from rlhf.runtime.reach import address_of, check_reach, silence


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


@contextmanager
def listening(reply):
    """Listen on a port and answer one caller; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            line, _ = server.accept()
            with line:
                heard.append(line.recv(100))
                line.sendall(reply)

        heard = []
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()
        assert heard[0].startswith(b"PRI * HTTP/2.0")


def test_a_head_that_answers_passes():
    with listening(bytes((0, 0, 6, 4, 0, 0, 0, 0, 0))) as address:
        check_reach(ClusterConfig(address=address), ["policy"])


@pytest.mark.parametrize("reply", (b"HTTP/1.1 400 Bad Request", b""))
def test_another_service_is_not_taken_for_a_cluster(reply):
    with listening(reply) as address, pytest.raises(ConfigError, match="is not Ray's head"):
        check_reach(ClusterConfig(address=address), ["policy"])


def test_a_service_that_does_not_answer_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert silence(f"127.0.0.1:{server.getsockname()[1]}", 0.1) == "timed out"


def test_ray_client_is_no_way_in():
    with pytest.raises(ConfigError, match="submit the command with `ray job submit`"):
        check_reach(ClusterConfig(address="ray://10.0.0.1:10001"), ["policy"])


def test_what_is_no_address():
    with pytest.raises(ConfigError, match=r"is not HOST:PORT; nearest: local"):
        check_reach(ClusterConfig(address="somewhere"), ["policy"])


def test_too_many_ranks_for_this_machine_unless_asked_for():
    crowded = ClusterConfig(address="local", policy=RolePlacement(ranks=99))
    with pytest.raises(ConfigError, match=r"cluster\.policy\.ranks=99 is more than"):
        check_reach(crowded, ["policy"])
    check_reach(crowded, ["reward"])
    check_reach(crowded.model_copy(update={"oversubscribe": True}), ["policy"])


def test_in_process_needs_no_cluster():
    check_reach(ClusterConfig(backend="in_process", address="127.0.0.1:9"), ["policy"])
