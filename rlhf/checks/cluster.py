"""The cluster: is it there and large enough, who may enter it, and do its nodes agree."""

from __future__ import annotations

import torch

from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext, roles_needed
from rlhf.runtime.access import check_token
from rlhf.runtime.reach import address_of, check_reach
from rlhf.runtime.timeline import Timeline


def check_cluster(context: CheckContext) -> str:
    """Compare the roles' requests with the cores and GPUs of the cluster.

    Raises:
        ConfigError: when the cluster does not answer, or is too small.
    """
    cluster = context.experiment.cluster
    roles = roles_needed(context.stages, context.experiment)
    check_reach(cluster, roles)
    ranks = ", ".join(f"{role} {cluster.placement(role).ranks}" for role in roles)
    if cluster.backend == "in_process":
        return f"in this process: {ranks}"
    gpus = torch.accelerator.device_count()
    if context.starts_ray and gpus and not cluster.wants_gpus:
        return CheckWarning(
            f"this machine has {gpus} GPUs, and cluster.gpus_per_rank=0 leaves them idle; set it "
            "to 1, or to a fraction where roles share one"
        )
    return f"{address_of(cluster)}, ranks: {ranks}"


def check_access(context: CheckContext) -> str:
    """Check who may connect to the cluster.

    Raises:
        ConfigError: when anybody who reaches it may, and no setting allows that.
    """
    cluster = context.experiment.cluster
    if cluster.backend == "in_process":
        return "no Ray is used"
    address = address_of(cluster)
    warning = check_token(address)
    return f"{address} is not open to others" if warning is None else CheckWarning(warning)


def check_nodes(context: CheckContext) -> str:
    """Connect to a running cluster, ask its nodes, and disconnect.

    Raises:
        ConfigError: a line for each node that differs from this one.
    """
    if not context.joins_ray:
        return "this machine alone"
    # Ray is needed by few commands and takes a second to import.
    from rlhf.runtime.nodes import ask_connected
    from rlhf.runtime.ray_cluster import RayCluster

    with RayCluster(context.experiment.cluster, Timeline(), threads=1):
        return ask_connected(context.experiment)
