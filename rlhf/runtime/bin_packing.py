"""Bin packing: whether slots fit on the nodes of a cluster, and on which; a pure function.

A GPU is a bin of its own: half a GPU on each of two nodes does not make a whole one. The largest
slots go first and each takes the fullest bin it fits (best-fit decreasing).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rlhf.config.cluster import ClusterConfig, RoleName

EPSILON = 1e-6
"""Tolerance: shares are decimal fractions stored as floats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCapacity:
    """One machine of a cluster: its CPUs and GPUs, and how many of them are free."""

    name: str
    """Its address, as messages show it."""
    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float
    id: str = ""
    """Ray's name for it."""

    def share(self, num_runs: int) -> NodeCapacity:
        """Return what one of several runs may use of it, when they share it evenly."""
        cpus, gpus = self.cpus / num_runs, self.gpus / num_runs
        free_cpus, free_gpus = min(self.free_cpus, cpus), min(self.free_gpus, gpus)
        return replace(self, cpus=cpus, gpus=gpus, free_cpus=free_cpus, free_gpus=free_gpus)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceRequest:
    """The slots that one role asks for, all alike."""

    role: RoleName
    ranks: int
    gpus: float
    """GPUs a slot, at most 1."""


@dataclass(slots=True)
class _Space:
    """What is left of a node while slots are assigned."""

    node: NodeCapacity
    cpus: float
    gpus: list[float] = field(default_factory=list[float])
    """What is left of each GPU."""

    @classmethod
    def of(cls, node: NodeCapacity) -> _Space:
        """Start from a node's free resources; a fraction of a GPU is the rest of one GPU."""
        whole = math.floor(node.free_gpus + EPSILON)
        rest = node.free_gpus - whole
        return cls(node, node.free_cpus, [1.0] * whole + ([rest] if rest > EPSILON else []))

    def slots(self, gpus: float, cpus: float) -> int:
        """Return how many more slots fit."""
        by_cpu = math.floor((self.cpus + EPSILON) / cpus)
        if not gpus:
            return by_cpu
        return min(by_cpu, sum(math.floor((left + EPSILON) / gpus) for left in self.gpus))

    def take(self, gpus: float, cpus: float) -> None:
        """Assign one slot, on the fullest GPU that has room for it."""
        self.cpus -= cpus
        if gpus:
            left, index = min(
                (left, index) for index, left in enumerate(self.gpus) if left + EPSILON >= gpus
            )
            self.gpus[index] = left - gpus


def hosts(config: ClusterConfig, roles: Sequence[RoleName]) -> dict[RoleName, RoleName]:
    """Return whose slots each role runs in: its own, or those of another role that is started."""
    asked: dict[RoleName, RoleName] = {
        role: config.placement(role).colocate_with or role for role in roles
    }
    return {role: host if host in roles else role for role, host in asked.items()}


def gpus_of(config: ClusterConfig, role: RoleName) -> float:
    """Return the GPUs of one slot of a role's own."""
    own = config.placement(role).gpus
    return config.gpus_per_rank if own is None else own


def requests_of(config: ClusterConfig, roles: Sequence[RoleName]) -> list[ResourceRequest]:
    """Return the slots that are needed; a role colocated with another one needs none."""
    return [
        ResourceRequest(role=role, ranks=config.placement(role).ranks, gpus=gpus_of(config, role))
        for role, host in hosts(config, roles).items()
        if host == role
    ]


def pack(
    requests: Sequence[ResourceRequest], nodes: Sequence[NodeCapacity], cpus: float
) -> dict[RoleName, list[NodeCapacity]]:
    """Find a node for every slot.

    The ranks of a role share a node if one has room for all; else they fill one node after
    another, in order.

    Args:
        requests: The slots of every role.
        nodes: The nodes of the cluster, with what is free on each.
        cpus: CPUs a slot.

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
