"""Reach: whether the cluster asked for is there and large enough, told without starting it."""

from __future__ import annotations

import os
import socket

import torch

from rlhf.cluster.placement import plan
from rlhf.cluster.room import Node
from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError

CONNECT_TIMEOUT_S = 5.0


def address_of(config: ClusterConfig) -> str:
    """Return where Ray is: local for an own cluster, else HOST:PORT or what Ray takes."""
    if config.address == "auto":
        return os.environ.get("RAY_ADDRESS") or "local"
    return config.address


def this_machine() -> Node:
    """Return this machine as the only node of an own cluster."""
    cores, gpus = float(len(os.sched_getaffinity(0))), float(torch.accelerator.device_count())
    return Node(name="this machine", cpus=cores, gpus=gpus, free_cpus=cores, free_gpus=gpus)


def answers(address: str) -> bool:
    """Return whether anything listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        _knock(host, int(port))
    except (OSError, OverflowError, ValueError):
        return False
    return True


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
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"cluster.address={address} is not HOST:PORT; nearest: local")
    try:
        _knock(host, int(port))
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"cluster.address={address}: no Ray cluster answers there ({error}); start one with "
            "`ray start --head`, or use local"
        ) from error


def _knock(host: str, port: int) -> None:
    socket.create_connection((host.strip("[]"), port), CONNECT_TIMEOUT_S).close()
