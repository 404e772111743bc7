"""The cluster: is it there and large enough, who may enter it, and do its nodes agree."""

from __future__ import annotations

from pathlib import Path

import torch

from rlhf.cli.checks.case import Case, company_of
from rlhf.cli.checks.check import Caution
from rlhf.cli.checks.disk import existing
from rlhf.cluster.access import check_token
from rlhf.cluster.reach import address_of, check_reach
from rlhf.cluster.timeline import Timeline
from rlhf.config.cluster import ClusterConfig
from rlhf.config.experiment import Experiment


def look_at_cluster(case: Case) -> str:
    """Hold the roles against the cores and GPUs.

    Raises:
        ConfigError: when the cluster does not answer, or is too small.
    """
    cluster = case.experiment.cluster
    roles = company_of(case.stages, case.experiment)
    check_reach(cluster, roles)
    ranks = ", ".join(f"{role} {cluster.placement(role).ranks}" for role in roles)
    if cluster.backend == "in_process":
        return f"in this process: {ranks}"
    gpus = torch.accelerator.device_count()
    if case.starts_ray and gpus and not wants_gpus(cluster):
        return Caution(
            f"this machine has {gpus} GPUs, and cluster.gpus_per_rank=0 leaves them idle; set it "
            "to 1, or to a fraction where roles share one"
        )
    return f"{address_of(cluster)}, ranks: {ranks}"


def look_at_token(case: Case) -> str:
    """Look at who may enter the cluster.

    Raises:
        ConfigError: when anybody may who reaches it, and nobody decided so.
    """
    cluster = case.experiment.cluster
    if cluster.backend == "in_process":
        return "no Ray is used"
    address = address_of(cluster)
    warning = check_token(address)
    return f"{address} is not open to others" if warning is None else Caution(warning)


def look_at_nodes(case: Case) -> str:
    """Connect to a running cluster, ask its nodes, and disconnect.

    Raises:
        ConfigError: a line for each node that differs from this one.
    """
    if not case.joins_ray:
        return "this machine alone"
    # Ray is needed by few commands and takes a second to import.
    from rlhf.cluster.ray_cluster import RayCluster

    with RayCluster(case.experiment.cluster, Timeline(), threads=1):
        return ask_connected(case.experiment)


def ask_connected(experiment: Experiment) -> str:
    """Ask the nodes of the cluster this process is connected to.

    Raises:
        ConfigError: a line for each node that differs from this one.
    """
    from rlhf.cluster.nodes import check_nodes

    models = [
        experiment.policy.path,
        experiment.reference.path,
        experiment.reward_model.path,
        experiment.value.path,
    ]
    local = {str(Path(path).absolute()) for path in models if path and Path(path).exists()}
    return check_nodes(
        existing(Path(experiment.run_dir)),
        sorted(local),
        count_devices=wants_gpus(experiment.cluster),
        timeout_s=experiment.cluster.timeout_s,
    )


def wants_gpus(cluster: ClusterConfig) -> bool:
    """Return whether any rank asks for a GPU."""
    return bool(cluster.gpus_per_rank) or any(row.gpus for row in cluster.table().values())
