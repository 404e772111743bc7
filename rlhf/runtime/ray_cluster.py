"""RayCluster: connects to Ray, places and starts the groups, and ends them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Self

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, remove_placement_group

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError
from rlhf.runtime.cluster_watch import ClusterWatch, core
from rlhf.runtime.liveness import Liveness
from rlhf.runtime.placement import Placement, where
from rlhf.runtime.ray_group import GroupSlots, RayGroup
from rlhf.runtime.reach import address_of, check_address, silence
from rlhf.runtime.reaper import marking
from rlhf.runtime.reserve import reserve
from rlhf.runtime.timeline import Timeline

OTHER_CLUSTER = Path("/tmp/ray/ray_current_cluster")
"""Where Ray notes the address of a cluster started by hand on this machine."""
PASSED_ON = ("GLIBC_TUNABLES", "HF_HOME", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "RLHF_CACHE")
"""Variables that role processes need and Ray would not hand on."""
SECRETS = ("HF_TOKEN",)
"""The same, but Ray writes a process's environment to its logs, which anybody here may read."""
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""Memory comes 2 MiB at a time, where the kernel gives that to who asks. Else a rank of 6M weights
meets 30,000 new pages a step on a CPU, which takes 6 % longer."""


class RayCluster:
    """A connection to Ray for the length of a run."""

    def __init__(
        self,
        config: ClusterConfig,
        timeline: Timeline,
        *,
        threads: int,
        num_runs: int = 1,
        on_end: Callable[[str], None] = lambda process: None,
    ) -> None:
        """Connect, or start a cluster of its own on this machine.

        Args:
            config: Where; who may wait how long.
            timeline: Records every call.
            threads: Torch threads a rank.
            num_runs: Runs that share it evenly.
            on_end: Called in another thread when a process ends without which there is no
                cluster of our own; Ray ends this process soon after.
        """
        self._config, self._timeline, self._threads = config, timeline, threads
        self._open = ExitStack()
        self._slots: PlacementGroup | None = None
        self._groups: dict[RoleName, RayGroup] = {}
        self._num_runs = num_runs
        address = address_of(config)
        if address != "local":
            check_address(config)
        before = core()
        _connect(config, address)
        if address == "local":
            self._open.enter_context(closing(ClusterWatch(on_end, before)))

    def start(
        self,
        roles: Sequence[RoleName],
        *,
        note: Callable[[str], None] = lambda line: None,
        announce: Callable[[Placement], None] = lambda placement: None,
    ) -> Mapping[RoleName, RayGroup]:
        """Place and start the groups of the roles; returns when all ranks have joined.

        Args:
            roles: The roles to start.
            note: Called with a line when the run waits for resources, and with each rank's node.
            announce: Called with the plan before any process starts.

        Raises:
            ConfigError: when the cluster is too small.
            WorkerError: when a rank does not start.
        """
        placement, self._slots = reserve(self._config, roles, note, num_runs=self._num_runs)
        announce(placement)
        liveness = self._open.enter_context(closing(Liveness(self._config.hang_s)))
        for role in roles:
            slots = placement.slots(role)
            env = rank_environment(os.environ, self._threads, gpus=slots[0].gpus > 0)
            secrets = {name: os.environ[name] for name in SECRETS if name in os.environ}
            given = GroupSlots(self._slots, slots, self._threads, env, secrets, liveness)
            self._groups[role] = RayGroup(
                role, given, self._timeline, timeout_s=self._config.timeout_s
            )
        for group in self._groups.values():
            group.join()
            note(f"{group.name} is up, ranks by node: {where(dict(enumerate(group.nodes)))}")
        return self._groups

    def num_nodes(self) -> int:
        """Return how many nodes are alive."""
        return sum(node["Alive"] for node in ray.nodes())

    def __enter__(self) -> Self:
        """Return the connection; leaving the block ends its processes and disconnects."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes, stuck or not, and disconnect; a cluster of its own ends too."""
        self._open.close()
        with suppress(RayError):
            for group in self._groups.values():
                group.close()
            if self._slots is not None:
                remove_placement_group(self._slots)
        ray.shutdown()


def _connect(config: ClusterConfig, address: str) -> None:
    """Connect to a cluster, or start one; what it starts ends with this process."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DISABLE_METRICS_COLLECTION", "1")
    try:
        with requests_kept(), marking() if address == "local" else nullcontext():
            ray.init(
                address=address,
                namespace=None,
                include_dashboard=False if address == "local" else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=True,
            )
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise ConfigError(_no_cluster(config, address, error)) from error


@contextmanager
def requests_kept() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which Ray would replace."""
    on_request = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_request)


def rank_environment(own: Mapping[str, str], threads: int, *, gpus: bool) -> dict[str, str]:
    """Return the environment variables of every rank of a role.

    Args:
        own: The driver's, of which some are passed on.
        threads: Torch threads a rank.
        gpus: Whether the ranks have GPUs; without, they see none, and ask for huge pages.
    """
    env = {} if gpus else {**HUGE_PAGES, "CUDA_VISIBLE_DEVICES": ""}
    env.update((name, own[name]) for name in PASSED_ON if name in own)
    env.update(OMP_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM="false")
    return env


def other_cluster(config: ClusterConfig, noted: Path = OTHER_CLUSTER) -> str | None:
    """Return the address of a cluster on this machine that this run will not use, if any.

    Ray leaves its note behind when a cluster is killed; one that does not answer is none.
    """
    if address_of(config) != "local" or not noted.is_file():
        return None
    address = noted.read_text(encoding="utf-8").strip()
    return None if silence(address) else address


def _no_cluster(config: ClusterConfig, address: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0]
    if address == "local":
        return (
            f"Ray could not start a cluster of its own on this machine ({reason}); free memory and "
            "disk under /tmp, or set cluster.address to a running cluster"
        )
    return (
        f"cluster.address={config.address}: no Ray cluster answers there ({reason}); start one "
        "with `ray start --head`, or use local"
    )
