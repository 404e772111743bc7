"""Placement: which processes a run starts, and what each asks of the cluster; a pure plan."""

from __future__ import annotations

from dataclasses import dataclass

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """How many ranks each role gets, and the share of a node that each rank asks for."""

    ranks: dict[RoleName, int]
    cpus_per_rank: float
    gpus_per_rank: float

    def bundles(self) -> list[dict[str, float]]:
        """Return one Ray bundle a rank, roles in order."""
        bundle = {"CPU": self.cpus_per_rank}
        if self.gpus_per_rank:
            bundle["GPU"] = self.gpus_per_rank
        return [dict(bundle) for _ in range(sum(self.ranks.values()))]

    def seats(self, role: RoleName) -> list[int]:
        """Return the indices of a role's bundles."""
        start = 0
        for name, count in self.ranks.items():
            if name == role:
                return list(range(start, start + count))
            start += count
        return []


def plan(
    config: ClusterConfig, roles: list[RoleName], *, cluster_cpus: float, cluster_gpus: float
) -> Placement:
    """Seat the roles. They take turns on the same cores, so ranks share them evenly.

    Raises:
        ConfigError: when a role has more ranks than the cluster has cores, or GPUs are missing.
    """
    ranks: dict[RoleName, int] = {role: config.placement(role).ranks for role in roles}
    for role, count in ranks.items():
        if count > cluster_cpus and not config.oversubscribe:
            raise ConfigError(
                f"cluster.{role}.ranks={count} is more than the cluster's {cluster_cpus:g} cores; "
                f"nearest legal value: {int(cluster_cpus)} (or set cluster.oversubscribe=true)"
            )
    total = sum(ranks.values())
    wanted_gpus = config.gpus_per_rank * total
    if wanted_gpus > cluster_gpus + 1e-9:
        raise ConfigError(
            f"cluster.gpus_per_rank={config.gpus_per_rank:g} for {total} ranks needs "
            f"{wanted_gpus:g} GPUs, the cluster has {cluster_gpus:g}; nearest legal value: "
            f"{int(cluster_gpus / total * 100) / 100:g}"
        )
    cpus = max(0.01, min(1.0, int(cluster_cpus / total * 100) / 100))
    return Placement(ranks=ranks, cpus_per_rank=cpus, gpus_per_rank=config.gpus_per_rank)
