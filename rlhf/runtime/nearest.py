"""Nearest: the plan closest to one that does not fit; a pure search over the placement table.

In the order tried: legal shares of a GPU, smaller shares of it (where shares were asked for), roles
beside each other, fewer ranks, no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.runtime.bin_packing import gpus_of, hosts

Fits = Callable[[ClusterConfig], bool]
SMALLEST_PART = 8
"""A proposal cuts a GPU into at most this many fractions."""


def nearest(config: ClusterConfig, roles: Sequence[RoleName], fits: Fits) -> ClusterConfig | None:
    """Return the plan that fits and changes least; None when none fits."""
    config = _legal(config, roles)
    beside = list(_beside(config, roles))
    for candidate in (*_smaller_parts(config, roles), *beside):
        if fits(candidate):
            return candidate
    tried = [_fewer_ranks(each, roles, fits) for each in (config, *beside[-1:])]
    fitting = [each for each in tried if each is not None]
    if fitting:
        return max(fitting, key=lambda each: sum(each.placement(role).ranks for role in roles))
    return _fewer_ranks(_without_gpus(config), roles, fits)


def changes(config: ClusterConfig, other: ClusterConfig) -> list[str]:
    """Return the settings that turn the first plan into the second, as KEY=VALUE."""
    old, new = config.model_dump(), other.model_dump()
    flat_old, flat_new = dict(_flat("cluster", old)), dict(_flat("cluster", new))
    return [
        f"{name}={_typed(value)}" for name, value in flat_new.items() if value != flat_old[name]
    ]


def _legal(config: ClusterConfig, roles: Sequence[RoleName]) -> ClusterConfig:
    """Give no rank more than one GPU, and no two ranks of a role fractions of the same one."""
    config = config.model_copy(update={"gpus_per_rank": min(config.gpus_per_rank, 1.0)})
    for role, host in hosts(config, roles).items():
        gpus, ranks = gpus_of(config, role), config.placement(role).ranks
        if host == role and (gpus > 1 or (ranks > 1 and 0 < gpus < 1)):
            config = _with(config, role, gpus=1.0, colocate_with=None)
    return config


def _smaller_parts(config: ClusterConfig, roles: Sequence[RoleName]) -> Iterator[ClusterConfig]:
    """Cut a GPU that is shared into smaller fractions: each role of one rank gets one."""
    yield config
    parted: list[RoleName] = [
        role
        for role, host in hosts(config, roles).items()
        if host == role and config.placement(role).ranks == 1 and gpus_of(config, role)
    ]
    if not any(gpus_of(config, role) < 1 for role in parted):
        return
    alike = all(config.placement(role).gpus is None for role in roles)
    for part in (1 / number for number in range(2, SMALLEST_PART + 1)):
        part = int(100 * part) / 100
        for role in [] if alike else parted:
            if gpus_of(config, role) > part:
                config = _with(config, role, gpus=part, colocate_with=None)
        yield config.model_copy(update={"gpus_per_rank": part}) if alike else config


def _beside(config: ClusterConfig, roles: Sequence[RoleName]) -> Iterator[ClusterConfig]:
    """Colocate one role after another with the one that has the most ranks, smallest first."""
    # Of equals the first one is the host; the policy is asked first.
    own: list[RoleName] = [
        role for role, host in hosts(config, roles[::-1]).items() if host == role
    ]
    own.sort(key=lambda role: (gpus_of(config, role) > 0, config.placement(role).ranks))
    host = own.pop()
    for moved in own:
        if bool(gpus_of(config, moved)) == bool(gpus_of(config, host)):
            config = _with(config, host, colocate_with=None)
            for role, row in config.table().items():
                if role == moved or row.colocate_with == moved:
                    config = _with(config, role, colocate_with=host, gpus=None)
            yield config


def _fewer_ranks(
    config: ClusterConfig, roles: Sequence[RoleName], fits: Fits
) -> ClusterConfig | None:
    """Take away as few ranks as will do, always from the role that has the most."""
    ranks: dict[RoleName, int] = {role: config.placement(role).ranks for role in roles}
    low, high = 0, sum(ranks.values()) - len(ranks)
    if not fits(_with_ranks(config, ranks, high)):
        return None
    while low < high:
        middle = (low + high) // 2
        if fits(_with_ranks(config, ranks, middle)):
            high = middle
        else:
            low = middle + 1
    return _with_ranks(config, ranks, high)


def _with_ranks(config: ClusterConfig, ranks: dict[RoleName, int], fewer: int) -> ClusterConfig:
    left = dict(ranks)
    for _ in range(fewer):
        # Of equals the last asked loses: the policy is asked first.
        most = max(reversed(left), key=lambda role: left[role])
        left[most] -= 1
    for role, count in left.items():
        config = _with(config, role, ranks=count)
    for role, row in config.table().items():
        host = row.colocate_with
        if host is not None and row.ranks > config.placement(host).ranks:
            config = _with(config, role, ranks=config.placement(host).ranks)
    return config


def _without_gpus(config: ClusterConfig) -> ClusterConfig:
    for role, row in config.table().items():
        if row.gpus is not None:
            config = _with(config, role, gpus=None)
    return config.model_copy(update={"gpus_per_rank": 0.0})


def _with(config: ClusterConfig, role: RoleName, **changed: Any) -> ClusterConfig:
    row = config.placement(role).model_copy(update=changed)
    return config.model_copy(update={role: row})


def _flat(prefix: str, settings: dict[str, Any]) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def _typed(value: object) -> str:
    if value is None:
        return "null"
    return f"{value:g}" if isinstance(value, float) else str(value)
