"""RayCluster: connects to Ray, seats the groups, and takes them down again."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import ray
from ray.exceptions import GetTimeoutError
from ray.util.placement_group import placement_group

from rlhf.cluster.placement import Placement, plan
from rlhf.cluster.ray_group import RayGroup, Seats
from rlhf.cluster.reach import address_of
from rlhf.cluster.timeline import Timeline
from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError, WorkerError

OTHER_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""Where Ray notes the address of a cluster started by hand on this machine."""
PASSED_ON = ("HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN", "RLHF_CACHE")
"""Variables that role processes need and Ray would not hand on."""


class RayCluster:
    """A connection to Ray for the length of a run."""

    def __init__(
        self, config: ClusterConfig, timeline: Timeline, *, threads: int, num_runs: int = 1
    ) -> None:
        """Connect, or start an own cluster on this machine; num_runs share it evenly."""
        self._config, self._timeline, self._threads = config, timeline, threads
        self._num_runs = num_runs
        address = address_of(config)
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_DISABLE_METRICS_COLLECTION", "1")
        try:
            ray.init(
                address=address,
                namespace=None,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"cluster.address={config.address}: no Ray cluster answers there "
                f"({str(error).splitlines()[0]}); start one with `ray start --head`, or use local"
            ) from error

    def start(self, roles: list[RoleName]) -> Mapping[RoleName, RayGroup]:
        """Seat and start the groups of the roles; returns when all ranks have joined."""
        resources = ray.cluster_resources()
        seating = plan(
            self._config,
            roles,
            cluster_cpus=resources.get("CPU", 0.0) / self._num_runs,
            cluster_gpus=resources.get("GPU", 0.0) / self._num_runs,
        )
        placement = placement_group(seating.bundles(), strategy="PACK")
        try:
            ray.get(placement.ready(), timeout=min(120.0, self._config.timeout_s))
        except GetTimeoutError:
            raise WorkerError(_no_room(seating, ray.available_resources())) from None
        env = self._env()
        groups: dict[RoleName, RayGroup] = {}
        for role in roles:
            seats = Seats(
                placement=placement,
                bundles=seating.seats(role),
                cpus=seating.cpus_per_rank,
                gpus=seating.gpus_per_rank,
                threads=self._threads,
                env=env,
            )
            groups[role] = RayGroup(role, seats, self._timeline, timeout_s=self._config.timeout_s)
        for group in groups.values():
            group.join()
        return groups

    def _env(self) -> dict[str, str]:
        env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        env.update(OMP_NUM_THREADS=str(self._threads), TOKENIZERS_PARALLELISM="false")
        if not self._config.gpus_per_rank:
            env["CUDA_VISIBLE_DEVICES"] = ""
        return env

    def __enter__(self) -> Self:
        """Use as a context."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; an own cluster ends, with all its processes."""
        ray.shutdown()


def other_cluster(config: ClusterConfig) -> str | None:
    """Return the address of a cluster on this machine that this run will not use, if any."""
    if address_of(config) == "local" and OTHER_CLUSTER.is_file():
        return OTHER_CLUSTER.read_text().strip()
    return None


def _no_room(seating: Placement, available: Mapping[str, float]) -> str:
    free = ", ".join(f"{available.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
    wanted = sum(bundle["CPU"] for bundle in seating.bundles())
    ranks = sum(seating.ranks.values())
    return (
        f"the cluster has no room for {ranks} ranks: they need {wanted:g} CPU and "
        f"{seating.gpus_per_rank * ranks:g} GPU, free are {free}; stop other jobs, or lower "
        "cluster.*.ranks"
    )
