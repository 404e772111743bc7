"""Room: whether seats fit on the nodes of a cluster, and on which; pure bin packing.

A GPU is a bin of its own: half a GPU on each of two nodes is no room for a whole one. The largest
seats go first and each takes the fullest place it fits (best-fit decreasing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlhf.config.cluster import ClusterConfig, RoleName

EPSILON = 1e-6
"""Shares are decimal fractions held as floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCapacity:
    """One machine of a cluster: what it has, and what of that nobody holds."""

    name: str
    """Its address, as messages show it."""
    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float
    id: str = ""
    """Ray's name for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRequest:
    """Seats of one role, all alike."""

    role: RoleName
    ranks: int
    gpus: float
    """GPUs a seat, at most 1."""


@dataclass(slots=True)
class _Space:
    """What is left of a node while seats are given out."""

    node: NodeCapacity
    cpus: float
    gpus: list[float] = field(default_factory=list[float])
    """What is left of each GPU."""

    @classmethod
    def of(cls, node: NodeCapacity) -> _Space:
        """Take a node as it is; a part of a GPU counts as the rest of one."""
        whole = math.floor(node.free_gpus + EPSILON)
        rest = node.free_gpus - whole
        return cls(node, node.free_cpus, [1.0] * whole + ([rest] if rest > EPSILON else []))

    def slots(self, gpus: float, cpus: float) -> int:
        """Return how many more seats fit."""
        by_cpu = math.floor((self.cpus + EPSILON) / cpus)
        if not gpus:
            return by_cpu
        return min(by_cpu, sum(math.floor((left + EPSILON) / gpus) for left in self.gpus))

    def take(self, gpus: float, cpus: float) -> None:
        """Give one seat away, on the fullest GPU that has room for it."""
        self.cpus -= cpus
        if gpus:
            left, index = min(
                (left, index) for index, left in enumerate(self.gpus) if left + EPSILON >= gpus
            )
            self.gpus[index] = left - gpus


def hosts(config: ClusterConfig, roles: Sequence[RoleName]) -> dict[RoleName, RoleName]:
    """Return whose seats each role sits on: its own, or those of a role that is started too."""
    asked: dict[RoleName, RoleName] = {
        role: config.placement(role).colocate_with or role for role in roles
    }
    return {role: host if host in roles else role for role, host in asked.items()}


def gpus_of(config: ClusterConfig, role: RoleName) -> float:
    """Return the GPUs of one seat of a role's own."""
    own = config.placement(role).gpus
    return config.gpus_per_rank if own is None else own


def requests_of(config: ClusterConfig, roles: Sequence[RoleName]) -> list[ResourceRequest]:
    """Return the seats that are needed; a role beside another one needs none."""
    return [
        ResourceRequest(role=role, ranks=config.placement(role).ranks, gpus=gpus_of(config, role))
        for role, host in hosts(config, roles).items()
        if host == role
    ]


def pack(
    requests: Sequence[ResourceRequest], nodes: Sequence[NodeCapacity], cpus: float
) -> dict[RoleName, list[NodeCapacity]]:
    """Find a node for every seat.

    The ranks of a role share a node where one has room for all; else they fill one node after
    another, in order.

    Args:
        requests: The seats of every role.
        nodes: What is there.
        cpus: CPUs a seat.

    Returns:
        Role -> the node of each rank; roles without room are left out.
    """
    spaces = [_Space.of(node) for node in nodes]
    found: dict[RoleName, list[NodeCapacity]] = {}
    for request in sorted(requests, key=lambda request: (-request.gpus, -request.ranks)):
        room = [(space.slots(request.gpus, cpus), space) for space in spaces]
        whole = [(count, space) for count, space in room if count >= request.ranks]
        if whole:
            chosen = [min(whole, key=lambda each: each[0])]
        else:
            chosen = sorted(room, key=lambda each: -each[0])
        slots = [space for count, space in chosen for _ in range(count)][: request.ranks]
        if len(slots) == request.ranks:
            found[request.role] = [space.node for space in slots]
            for space in slots:
                space.take(request.gpus, cpus)
    return found
