"""Fit: which ranks share a device, how much memory that takes, and where it is too little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rlhf.catalog.stages import PPO, REWARD_MODEL, StageRecord
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.planning.hardware import GIB, Hardware
from rlhf.planning.memory import RoleMemory, role_memory
from rlhf.planning.shapes import RoleShape, longest_row

USABLE = 0.92
"""Share of a device's memory to plan with; the rest is for fragments and what is not modelled."""
CONTEXT = 0.6 * GIB
"""On a GPU, a process: driver context and communication buffers (given)."""
PROCESS = 1.0 * GIB
"""In host memory, a process: Python and its libraries (given)."""
DeviceGroup = Counter[RoleName]
"""How many ranks of each role one device holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """What a run needs of some hardware, and whether it fits."""

    experiment: Experiment
    hardware: Hardware
    memories: tuple[RoleMemory, ...]
    groups: dict[StageRecord, list[DeviceGroup]]
    """The ranks on each device in use, by stage."""
    device_bytes: float
    """Most on any device."""
    host_bytes: float
    """Most in any node's memory."""
    shortages: tuple[str, ...]
    """What does not fit, a line each; empty when all does."""

    @property
    def fits(self) -> bool:
        """Whether devices, hosts and memory are all enough."""
        return not self.shortages


def assess(experiment: Experiment, shapes: list[RoleShape], hardware: Hardware) -> Fit:
    """Predict what the configuration needs, and compare it with the hardware."""
    device = hardware.device()
    memories = tuple(role_memory(shape, experiment, device) for shape in shapes)
    groups: dict[StageRecord, list[DeviceGroup]] = {}
    for stage in (REWARD_MODEL, PPO):
        roles = [memory for memory in memories if memory.shape.stage == stage]
        if roles:
            groups[stage] = _groups(experiment, roles, hardware)
    most = max(
        device_bytes(group, stage, memories, experiment)
        for stage in groups
        for group in groups[stage]
    )
    host = max(_host_bytes(groups[stage], stage, memories, experiment) for stage in groups)
    if hardware.kind.is_gpu:
        host /= min(hardware.nodes, max(1, -(-len(groups[PPO]) // hardware.devices)))
    fit = Fit(
        experiment=experiment,
        hardware=hardware,
        memories=memories,
        groups=groups,
        device_bytes=most,
        host_bytes=host,
        shortages=(),
    )
    return replace(fit, shortages=tuple(_shortages(fit)))


def shares_time(experiment: Experiment, *, is_gpu: bool) -> bool:
    """Whether colocated roles time-share, so that only the one at work is on the device."""
    residency = experiment.cluster.residency
    return is_gpu if residency == "auto" else residency == "in_turn"


def device_bytes(
    group: DeviceGroup,
    stage: StageRecord,
    memories: tuple[RoleMemory, ...],
    experiment: Experiment,
) -> float:
    """Return the peak bytes on a device that these ranks share."""
    there = [m for m in memories if m.shape.stage == stage and group[m.shape.role]]
    is_gpu = any(memory.model.on_gpu for memory in there)
    contexts = CONTEXT * sum(group.values()) if is_gpu else 0
    if shares_time(experiment, is_gpu=is_gpu):
        return contexts + max(group[role] * _peak(of) for role, of in by_role(there).items())
    resting = sum(group[m.shape.role] * m.resting for m in there)
    return contexts + resting + max(group[m.shape.role] * (m.peak - m.resting) for m in there)


def by_role(memories: Iterable[RoleMemory]) -> dict[RoleName, list[RoleMemory]]:
    """Return the models that each role holds; the reward may hold several."""
    found: dict[RoleName, list[RoleMemory]] = {}
    for memory in memories:
        found.setdefault(memory.shape.role, []).append(memory)
    return found


def _peak(models: Sequence[RoleMemory]) -> float:
    """Return the peak bytes of a rank: all its models rest there, and one of them works."""
    return sum(m.resting for m in models) + max(m.peak - m.resting for m in models)


def _groups(
    experiment: Experiment, roles: list[RoleMemory], hardware: Hardware
) -> list[DeviceGroup]:
    if not hardware.kind.is_gpu:
        return _groups_of_nodes(roles, hardware)
    slots: list[tuple[DeviceGroup, list[float]]] = []
    chosen: dict[RoleName, list[DeviceGroup]] = {}
    cluster = experiment.cluster
    alone: list[RoleName] = list(by_role(roles))
    guests: list[RoleName] = [r for r in alone if cluster.placement(r).colocate_with is not None]
    hosts: list[RoleName] = [r for r in alone if r not in guests]
    for role in hosts + guests:
        row = cluster.placement(role)
        host = row.colocate_with
        if host in chosen:
            chosen[role] = chosen[host][: row.ranks]
        else:
            share = cluster.gpus_per_rank if row.gpus is None else row.gpus
            chosen[role] = [_slot(slots, share) for _ in range(row.ranks)]
        for group in chosen[role]:
            group[role] += 1
    return [group for group, _ in slots]


def _slot(slots: list[tuple[DeviceGroup, list[float]]], share: float) -> DeviceGroup:
    """Return the first device with this share of it free, a new one if there is none."""
    for group, room in slots:
        if 0 < share <= room[0] + 1e-9:
            room[0] -= share
            return group
    fresh: tuple[DeviceGroup, list[float]] = (Counter(), [max(0.0, 1.0 - share)])
    slots.append(fresh)
    for _ in range(max(0, round(share) - 1)):
        slots.append((Counter(), [0.0]))
    return fresh[0]


def _groups_of_nodes(roles: list[RoleMemory], hardware: Hardware) -> list[DeviceGroup]:
    groups: list[DeviceGroup] = [Counter() for _ in range(hardware.nodes)]
    for role, (memory, *_) in by_role(roles).items():
        for rank in range(memory.model.ranks):
            groups[rank % hardware.nodes][role] += 1
    return groups


def _host_bytes(
    groups: list[DeviceGroup],
    stage: StageRecord,
    memories: tuple[RoleMemory, ...],
    experiment: Experiment,
) -> float:
    """Return the bytes of host memory of all ranks and of the driver's rollouts."""
    total = _rollout_bytes(experiment)
    there = [memory for memory in memories if memory.shape.stage == stage]
    total += sum(PROCESS * of[0].model.ranks for of in by_role(there).values())
    for memory in there:
        ranks, model = memory.model.ranks, memory.model
        offloaded = 0.0
        if model.on_gpu and shares_time(experiment, is_gpu=True) and _is_shared(groups, memory):
            offloaded = memory.resting
        total += ranks * (offloaded + memory.model_memory.host)
        total += memory.host - memory.model_memory.host
    return total


def _is_shared(groups: list[DeviceGroup], memory: RoleMemory) -> bool:
    return any(group[memory.shape.role] and len(+group) > 1 for group in groups)


def _rollout_bytes(experiment: Experiment) -> float:
    """Return the bytes of a step's experience: ids, and six numbers a response token.

    Twice, as rows to the ranks pass through the object store.
    """
    ppo, response = experiment.ppo, experiment.generation.max_new_tokens
    rows = ppo.rollout_batch_size * ppo.samples_per_prompt
    return 2 * rows * (8 * longest_row(experiment) + 6 * 4 * response)


def _shortages(fit: Fit) -> Iterator[str]:
    hardware = fit.hardware
    unit = "GPU" if hardware.kind.is_gpu else "node"
    used = max(len(groups) for groups in fit.groups.values())
    there = hardware.count if hardware.kind.is_gpu else hardware.nodes
    if used > there:
        more = used - there
        yield f"the roles' slots need {used} {unit}s, {more} more than the {there} there are"
    room = USABLE * hardware.kind.memory_gib * GIB
    if fit.device_bytes > room:
        culprit = max(fit.memories, key=lambda m: m.peak)
        phase = max(culprit.phases, key=lambda name: culprit.phases[name])
        needs, short = fit.device_bytes / GIB, (fit.device_bytes - room) / GIB
        yield (
            f"a {unit} needs {needs:,.1f} GiB, {short:,.1f} more than {room / GIB:,.1f} "
            f"({USABLE:.0%} of {hardware.kind.memory_gib:.4g}); most: {culprit.shape.label}, "
            f"{phase}, {culprit.peak / GIB:,.1f} GiB"
        )
    if hardware.kind.is_gpu and fit.host_bytes > hardware.host_gib * GIB:
        yield (
            f"a node's own memory needs {fit.host_bytes / GIB:,.1f} GiB, "
            f"{fit.host_bytes / GIB - hardware.host_gib:,.1f} more than {hardware.host_gib:,.0f}"
        )
