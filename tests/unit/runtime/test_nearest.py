"""Nearest: what it proposes fits, is legal, and is what a person would try first."""

from __future__ import annotations

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.runtime.nearest import changes, nearest

ROLES = ["policy", "reference", "reward", "value"]


def slots(config, roles=ROLES):
    """Return the GPUs and ranks of a table, as a rule of thumb of what fits."""
    own = [r for r in roles if config.placement(r).colocate_with not in roles]
    gpus = sum(
        config.placement(r).ranks
        * (config.gpus_per_rank if config.placement(r).gpus is None else config.placement(r).gpus)
        for r in own
    )
    return gpus, sum(config.placement(r).ranks for r in own)


def proposed(config, *, gpus, roles=ROLES):
    found = nearest(config, roles, lambda other: slots(other, roles)[0] <= gpus)
    return None if found is None else " ".join(changes(config, found))


def test_roles_are_seated_beside_the_largest_before_ranks_are_taken():
    config = ClusterConfig(gpus_per_rank=1.0, policy=RolePlacement(ranks=4))
    assert proposed(config, gpus=6) == "cluster.value.colocate_with=policy"
    assert proposed(config, gpus=4) == (
        "cluster.reference.colocate_with=policy cluster.reward.colocate_with=policy "
        "cluster.value.colocate_with=policy"
    )


def test_the_fewest_ranks_are_taken():
    config = ClusterConfig(gpus_per_rank=1.0, policy=RolePlacement(ranks=8))
    assert proposed(config, gpus=3, roles=["policy"]) == "cluster.policy.ranks=3"
    crowded = proposed(config, gpus=3, roles=["policy", "value"])
    assert crowded == "cluster.policy.ranks=3 cluster.value.colocate_with=policy"


def test_guests_shrink_with_their_host():
    config = ClusterConfig(
        gpus_per_rank=1.0,
        policy=RolePlacement(ranks=4),
        value=RolePlacement(ranks=4, colocate_with="policy"),
    )
    assert proposed(config, gpus=2, roles=["policy", "value"]) == (
        "cluster.policy.ranks=2 cluster.value.ranks=2"
    )


def test_guests_move_with_their_host():
    config = ClusterConfig(
        gpus_per_rank=1.0,
        policy=RolePlacement(ranks=2),
        reward=RolePlacement(colocate_with="value"),
    )
    assert proposed(config, gpus=2, roles=["policy", "reward", "value"]) == (
        "cluster.reward.colocate_with=policy cluster.value.colocate_with=policy"
    )


def test_fractions_of_a_gpu_get_smaller_where_fractions_were_requested():
    assert proposed(ClusterConfig(gpus_per_rank=0.5), gpus=1) == "cluster.gpus_per_rank=0.25"
    own = ClusterConfig(value=RolePlacement(gpus=0.75), policy=RolePlacement(gpus=0.75))
    assert proposed(own, gpus=1) == "cluster.policy.gpus=0.5 cluster.value.gpus=0.5"


def test_a_role_on_the_cpu_is_not_moved_onto_a_gpu():
    config = ClusterConfig(gpus_per_rank=1.0, reward=RolePlacement(gpus=0.0))
    assert proposed(config, gpus=1, roles=["policy", "reward", "value"]) == (
        "cluster.value.colocate_with=policy"
    )


def test_without_gpus_the_cpu_is_what_is_left():
    assert proposed(ClusterConfig(gpus_per_rank=1.0), gpus=0) == "cluster.gpus_per_rank=0"
    own = ClusterConfig(policy=RolePlacement(gpus=1.0))
    assert proposed(own, gpus=0) == "cluster.policy.gpus=null"


def test_what_never_fits_has_no_plan():
    assert nearest(ClusterConfig(), ROLES, lambda other: False) is None
