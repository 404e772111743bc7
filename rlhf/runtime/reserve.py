"""Reserve: plan on the live cluster and reserve the slots, or fail in time with the reason."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import ray
from ray._private.state import (  # pyright: ignore[reportPrivateUsage]
    available_resources_per_node,
)
from ray.util.placement_group import (
    PlacementGroup,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.errors import ConfigError
from rlhf.runtime.bin_packing import NodeCapacity
from rlhf.runtime.placement import Placement, plan

RESERVE_S = 30.0
"""Most seconds a run waits for slots that other jobs use."""
LOOK_AGAIN_S = 1.0
"""Seconds between two checks of a busy cluster."""
NODE_ID = "ray.io/node-id"
"""Label that Ray gives every node; a bundle that asks for it sits there."""


def live_nodes() -> list[NodeCapacity]:
    """Return the nodes that are up, with their free resources."""
    # Ray's public calls report the free resources of the whole cluster only.
    free = available_resources_per_node()
    alive = [node for node in ray.nodes() if node["Alive"]]
    addresses = [node["NodeManagerAddress"] for node in alive]
    found: list[NodeCapacity] = []
    for address, node in zip(addresses, alive, strict=True):
        has, left, node_id = node["Resources"], free.get(node["NodeID"], {}), node["NodeID"]
        found.append(
            NodeCapacity(
                name=address if addresses.count(address) == 1 else f"{address}/{node_id[:6]}",
                cpus=has.get("CPU", 0.0),
                gpus=has.get("GPU", 0.0),
                free_cpus=left.get("CPU", 0.0),
                free_gpus=left.get("GPU", 0.0),
                id=node_id,
            )
        )
    return sorted(found, key=lambda node: node.name)


def reserve(
    config: ClusterConfig,
    roles: Sequence[RoleName],
    note: Callable[[str], None],
    *,
    num_runs: int = 1,
) -> tuple[Placement, PlacementGroup]:
    """Reserve a slot for every rank.

    Args:
        config: Placement table.
        roles: The roles to place.
        note: Called with a line on this run's share, if it has one, and when it has to wait.
        num_runs: Runs that share the cores evenly; this one takes no more than its share.

    Raises:
        ConfigError: at once when the idle cluster is too small, else after the deadline; names
            what is needed, what there is, who uses it, and the nearest plan that fits.
    """
    deadline = time.monotonic() + min(RESERVE_S, config.timeout_s)
    look = partial(_parts, num_runs)
    idle = [_idle(node) for node in look()]
    if num_runs > 1:
        note(_share(idle, num_runs))
    plan(config, roles, idle)
    placement = _planned(config, roles, look, note, deadline)
    group = placement_group(
        list(placement.bundles),
        strategy="PACK",
        name=_own_name(),
        bundle_label_selector=[{NODE_ID: node.id} for node in placement.nodes],
    )
    if not group.wait(max(LOOK_AGAIN_S, deadline - time.monotonic())):
        remove_placement_group(group)
        raise ConfigError(
            f"Ray did not give the {len(placement.bundles)} slots within "
            f"{min(RESERVE_S, config.timeout_s):g} s, though enough was free; "
            f"{_held()}; stop other jobs and try again"
        )
    return placement, group


def _share(idle: Sequence[NodeCapacity], num_runs: int) -> str:
    cpus, gpus = sum(node.cpus for node in idle), sum(node.gpus for node in idle)
    return f"one of {num_runs} runs at a time: at most {cpus:g} CPUs and {gpus:g} GPUs for each"


def _planned(
    config: ClusterConfig,
    roles: Sequence[RoleName],
    look: Callable[[], list[NodeCapacity]],
    note: Callable[[str], None],
    deadline: float,
) -> Placement:
    """Plan on the free resources; while they are too few, try again until the deadline."""
    warned = False
    while True:
        try:
            return plan(config, roles, look())
        except ConfigError as error:
            left = deadline - time.monotonic()
            if left <= 0:
                raise ConfigError(f"{error}\n{_held()}") from None
            if not warned:
                note(f"other jobs hold the cluster; waiting up to {left:.0f} s for room")
                warned = True
        time.sleep(min(LOOK_AGAIN_S, max(left, 0.0)))


def _parts(num_runs: int) -> list[NodeCapacity]:
    """Return the nodes with the share of each that one of num_runs runs may use."""
    return [node.share(num_runs) for node in live_nodes()]


def _idle(node: NodeCapacity) -> NodeCapacity:
    return replace(node, free_cpus=node.cpus, free_gpus=node.gpus)


def _held() -> str:
    """Return which tasks and actors use which resources, as far as Ray names them."""
    groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
    if not groups:
        return "it is held by tasks or actors of other jobs; `ray status` shows how much"
    holders: list[str] = []
    for group in groups:
        bundles = group["bundles"].values()
        gpus, cpus = (sum(bundle.get(kind, 0) for bundle in bundles) for kind in ("GPU", "CPU"))
        name = group["name"] or f"placement group {group['placement_group_id']}"
        holders.append(f"{name} ({gpus:g} GPUs, {cpus:g} CPUs)")
    return f"held by: {'; '.join(holders)}"


def _own_name() -> str:
    """Return a name by which other runs can refer to this one."""
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:2]])
    since = datetime.now().isoformat(" ", "milliseconds")  # Ray wants names that differ.
    return f"{command}, process {os.getpid()} on {socket.gethostname()}, since {since}"
