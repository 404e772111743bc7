"""Placement: which processes a run starts, where each runs and what it requests; a pure plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rlhf.config.cluster import ClusterConfig, RoleName, RolePlacement
from rlhf.errors import ConfigError
from rlhf.runtime.bin_packing import (
    EPSILON,
    NodeCapacity,
    ResourceRequest,
    hosts,
    pack,
    requests_of,
)
from rlhf.runtime.nearest import changes, nearest

COLUMNS = ("role", "ranks", "GPUs each", "with", "ZeRO stage", "offload", "where")
"""Head of the table."""
LEAST_CPUS = 0.01
"""Fraction of a core that a slot requests at least; roles share the cores in time."""
SHOWN_GROUPS, SHOWN_NODES = 4, 16
"""Nodes that a cell, and that a refusal names before it counts the others."""


@dataclass(frozen=True, slots=True)
class RankSlot:
    """Where one rank of a role runs, and the CPUs and GPUs that its process requests."""

    bundle: int
    """Index of the bundle that it shares with the ranks beside it."""
    node: NodeCapacity
    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Placement:
    """The slots of every role; ranks that run in one slot share one bundle."""

    rows: dict[RoleName, RolePlacement]
    """What was asked, of the roles that are started."""
    hosts: dict[RoleName, RoleName]
    """Whose slots a role runs in: its own, or those of the role it is colocated with."""
    bundles: tuple[dict[str, float], ...]
    """Resources of each bundle, in Ray's words."""
    nodes: tuple[NodeCapacity, ...]
    """The node of each bundle."""
    first: dict[RoleName, int]
    """The first bundle of each role that has slots of its own; the others follow."""

    def slots(self, role: RoleName) -> list[RankSlot]:
        """Return the slot of each rank: a bundle is split evenly over the ranks in it."""
        return [self._slot(role, rank) for rank in range(self.rows[role].ranks)]

    def _slot(self, role: RoleName, rank: int) -> RankSlot:
        host = self.hosts[role]
        beside = [r for r, h in self.hosts.items() if h == host and self.rows[r].ranks > rank]
        bundle = self.first[host] + rank
        resources = self.bundles[bundle]
        # Ray counts in ten-thousandths; fractions that were rounded up would not fit in the whole.
        cpus, gpus = (
            int(resources.get(kind, 0.0) * 10_000 / len(beside) + EPSILON) / 10_000
            for kind in ("CPU", "GPU")
        )
        return RankSlot(bundle, self.nodes[bundle], cpus, gpus)


def plan(
    config: ClusterConfig, roles: Sequence[RoleName], nodes: Sequence[NodeCapacity]
) -> Placement:
    """Plan where the roles run. They share the cores in time, so slots get equal numbers of them.

    Raises:
        ConfigError: when the roles do not fit, or the settings cannot work; names what is needed,
            what each node has, and the nearest settings that fit.
    """
    problems = list(_problems(config, roles, nodes))
    placement = None if problems else _arranged(config, roles, nodes)
    if placement is not None:
        return placement
    fitting = nearest(config, roles, lambda other: _fits(other, roles, nodes))
    remedy = (
        "no smaller plan fits either: stop other jobs, or add nodes"
        if fitting is None
        else f"nearest plan that fits: {' '.join(changes(config, fitting))}"
    )
    raise ConfigError("\n".join([*(problems or _no_room(config, roles, nodes)), remedy]))


def table(placement: Placement, zero_stage: int) -> list[tuple[str, ...]]:
    """Return a row a role, under COLUMNS; zero_stage is for roles that set no stage themselves."""
    return [_row(placement, role, zero_stage) for role in placement.rows]


def where(nodes: Mapping[int, str]) -> str:
    """Return which ranks run on which node, given rank -> node: `A: 0-2, B: 3`."""
    groups: list[str] = []
    placed = sorted(nodes.items())
    for (name, _), run in groupby(enumerate(placed), key=lambda at: (at[1][1], at[1][0] - at[0])):
        ranks = [rank for _, (rank, _) in run]
        last = f"-{ranks[-1]}" if len(ranks) > 1 else ""
        groups.append(f"{name}: {ranks[0]}{last}")
    return ", ".join(_first(groups, SHOWN_GROUPS))


def _row(placement: Placement, role: RoleName, zero_stage: int) -> tuple[str, ...]:
    row, slots = placement.rows[role], placement.slots(role)
    host = placement.hosts[role]
    shares = sorted({slot.gpus for slot in slots})
    return (
        role,
        str(row.ranks),
        " to ".join(f"{gpus:g}" for gpus in dict.fromkeys((shares[0], shares[-1]))),
        "" if host == role else host,
        str(zero_stage if row.zero_stage is None else row.zero_stage),
        row.offload,
        where({rank: slot.node.name for rank, slot in enumerate(slots)}),
    )


def _problems(
    config: ClusterConfig, roles: Sequence[RoleName], nodes: Sequence[NodeCapacity]
) -> Iterator[str]:
    """Yield the faults that no free resources would mend."""
    cores = sum(node.cpus for node in nodes)
    for role in roles:
        count = config.placement(role).ranks
        if count > cores and not config.oversubscribe:
            yield (
                f"cluster.{role}.ranks={count} is more than the cluster's {cores:g} cores; lower "
                "it, or set cluster.oversubscribe=true"
            )
    for request in requests_of(config, roles):
        setting = _gpu_setting(config, request)
        if request.gpus > 1:
            yield f"{setting}, but a rank computes on one GPU; legal: 1 or less, and more ranks"
        elif request.ranks > 1 and 0 < request.gpus < 1:
            yield (
                f"{setting}, but NCCL takes only one rank of a role on a GPU, and {request.role} "
                f"has {request.ranks}; give each a whole GPU, and place other roles beside it with "
                "colocate_with"
            )


def _gpu_setting(config: ClusterConfig, request: ResourceRequest) -> str:
    own = config.placement(request.role).gpus
    name = "gpus_per_rank" if own is None else f"{request.role}.gpus"
    return f"cluster.{name}={request.gpus:g}"


def _fits(config: ClusterConfig, roles: Sequence[RoleName], nodes: Sequence[NodeCapacity]) -> bool:
    legal = not any(_problems(config, roles, nodes))
    return legal and _arranged(config, roles, nodes) is not None


def _arranged(
    config: ClusterConfig, roles: Sequence[RoleName], nodes: Sequence[NodeCapacity]
) -> Placement | None:
    """Place the roles with as much of a core a slot as there is, up to a whole one."""
    requests = requests_of(config, roles)
    low, high = 0, 100
    found: dict[RoleName, list[NodeCapacity]] = {}
    # Halving: `low` hundredths of a core are known to fit, `high` is the next to try first.
    trial = high
    while high > low:
        given = pack(requests, nodes, trial / 100)
        if len(given) == len(requests):
            found, low = given, trial
        else:
            high = trial - 1
        trial = (low + high + 1) // 2
    return _placement(config, roles, found, low / 100) if found else None


def _placement(
    config: ClusterConfig,
    roles: Sequence[RoleName],
    found: dict[RoleName, list[NodeCapacity]],
    cpus: float,
) -> Placement:
    bundles: list[dict[str, float]] = []
    nodes: list[NodeCapacity] = []
    first: dict[RoleName, int] = {}
    for request in requests_of(config, roles):
        first[request.role] = len(bundles)
        gpus = {"GPU": request.gpus} if request.gpus else {}
        bundles += [{"CPU": cpus, **gpus} for _ in range(request.ranks)]
        nodes += found[request.role]
    rows: dict[RoleName, RolePlacement] = {role: config.placement(role) for role in roles}
    return Placement(rows, hosts(config, roles), tuple(bundles), tuple(nodes), first)


def _no_room(
    config: ClusterConfig, roles: Sequence[RoleName], nodes: Sequence[NodeCapacity]
) -> list[str]:
    """Return the resources that are needed, then those that each node has."""
    requests = requests_of(config, roles)
    placed_roles = pack(requests, nodes, LEAST_CPUS)
    needed = ", ".join(f"{w.role} {w.ranks} x {w.gpus:g}" for w in requests)
    left = ", ".join(w.role for w in requests if w.role not in placed_roles)
    total, free = sum(w.ranks * w.gpus for w in requests), sum(node.free_gpus for node in nodes)
    available = [
        f"  {node.name}: {node.free_gpus:g} of {node.gpus:g} GPUs and {node.free_cpus:g} of "
        f"{node.cpus:g} CPUs free"
        for node in nodes
    ]
    return [
        f"the cluster has no room for {left}: needed are {total:g} GPUs (slots x GPUs: {needed}) "
        f"and {LEAST_CPUS:g} CPU a slot; free are {free:g} GPUs",
        *_first(available, SHOWN_NODES),
    ]


def _first(parts: Sequence[str], most: int) -> list[str]:
    """Return the first few, and how many more there are."""
    more = [f"and {len(parts) - most} more"] if len(parts) > most else []
    return [*parts[:most], *more]
