"""Reach: whether the configured cluster answers and is large enough; nothing is started."""

from __future__ import annotations

import os
import socket

import torch

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError
from rlhf.runtime.bin_packing import NodeCapacity
from rlhf.runtime.placement import plan

CONNECT_TIMEOUT_S = 10.0
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a gRPC client begins (RFC 9113, section 3.4): the preface, then an empty SETTINGS frame."""
SETTINGS = 4
"""Type of the frame that a gRPC server begins with."""


def address_of(config: ClusterConfig) -> str:
    """Return Ray's address: local for a cluster of the run's own, else HOST:PORT or a URL."""
    if config.address == "auto":
        return os.environ.get("RAY_ADDRESS") or "local"
    return config.address


def this_machine() -> NodeCapacity:
    """Return this machine as the only node of an own cluster."""
    cores, gpus = float(len(os.sched_getaffinity(0))), float(torch.accelerator.device_count())
    return NodeCapacity(name="this machine", cpus=cores, gpus=gpus, free_cpus=cores, free_gpus=gpus)


def check_reach(config: ClusterConfig, roles: list[RoleName]) -> None:
    """Refuse a cluster that does not answer, or an own one with too few cores or GPUs.

    Raises:
        ConfigError: naming the setting and the nearest legal value.
    """
    if config.backend != "ray":
        return
    address = address_of(config)
    if address == "local":
        plan(config, roles, [this_machine()])
        return
    check_address(config)


def check_address(config: ClusterConfig) -> None:
    """Refuse an address where no Ray cluster answers; Ray itself would wait there for ever.

    Raises:
        ConfigError: naming the setting and the remedy.
    """
    address = address_of(config)
    host, _, port = address.rpartition(":")
    if "://" in address:
        raise ConfigError(
            f"cluster.address={address}: a run speaks to a cluster from one of its nodes; give "
            "HOST:PORT there, or submit the command with `ray job submit`"
        )
    if not host or not port.isdigit():
        raise ConfigError(f"cluster.address={address} is not HOST:PORT; nearest: local")
    reason = silence(address)
    if reason:
        raise ConfigError(
            f"cluster.address={address}: no Ray cluster answers there ({reason}); start one with "
            "`ray start --head`, which prints its address, or use local"
        )


def silence(address: str, timeout_s: float = CONNECT_TIMEOUT_S) -> str:
    """Return why no Ray cluster answers at HOST:PORT; nothing when one does."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout_s) as line:
            line.sendall(HELLO)
            frame = line.recv(9)
    except (OSError, OverflowError, ValueError) as error:
        return str(error)
    return "" if frame[3:4] == bytes((SETTINGS,)) else "what listens there is not Ray's head"
