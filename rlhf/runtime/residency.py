"""Residency: whose weights are on a device that several roles share; decided only here.

Colocated roles time-share the device. A call on one of them first offloads the role whose time slot
it was, then onloads this one. The driver waits for neither: it passes Ray the order of the calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from rlhf.config.cluster import ClusterConfig, RoleName
from rlhf.flow.future import Future
from rlhf.roles.remote import UNMARKED, Remote
from rlhf.runtime.group import Build, Group

Move = Literal["offload", "onload"]


class Moving(Future[list[Any]], Protocol):
    """A move of all ranks of a role to or from the device, under way."""

    @property
    def calls(self) -> Sequence[Any]:
        """Ray's references of the move's calls; another move can wait for them."""
        ...


class Movable(Group, Protocol):
    """A group whose tensors can leave the device."""

    def move(self, move: Move, after: Sequence[Any]) -> Moving:
        """Offload or onload every rank, after its earlier calls and those of `after` have ended."""
        ...


@dataclass(slots=True)
class TimeSlot:
    """The moves that begin a role's time slot; the first call to be awaited waits for them."""

    moves: list[Moving]

    def settle(self) -> None:
        """Wait for the moves; raises the error of a rank that failed in one."""
        while self.moves:
            self.moves.pop(0).result()


class TimeSlots:
    """Tracks which role is on the device, for one set of shared slots."""

    def __init__(self) -> None:
        """Start with no role on the device."""
        self._on_device: Movable | None = None
        self._time_slot = TimeSlot([])

    def take(self, group: Movable) -> TimeSlot:
        """Start a role's time slot, unless it has it already; return without waiting."""
        if self._on_device is not group:
            offloaded = self._offload()
            after = [call for move in offloaded for call in move.calls]
            self._time_slot = TimeSlot([*offloaded, group.move("onload", after)])
            self._on_device = group
        return self._time_slot

    def make_room(self, group: Movable) -> None:
        """Start the time slot of a role about to be built; wait until the device is free."""
        if self._on_device is not group:
            self._time_slot = TimeSlot(self._offload())
            self._on_device = group
        self._time_slot.settle()

    def _offload(self) -> list[Moving]:
        return [] if self._on_device is None else [self._on_device.move("offload", ())]


@dataclass(frozen=True, slots=True)
class _InTimeSlot:
    """A future of answers that come after the moves that begin the time slot."""

    time_slot: TimeSlot
    answers: Future[list[Any]]

    def result(self) -> list[Any]:
        """Wait for both; an error in a move is raised in place of the errors it caused."""
        self.time_slot.settle()
        return self.answers.result()


class TimeSharing:
    """A group that is on the device only while it has work there."""

    def __init__(self, group: Movable, time_slots: TimeSlots) -> None:
        """Share the device with the groups that have the same scheduler."""
        self.name, self.size = group.name, group.size
        self._group, self._time_slots = group, time_slots

    def become(self, build: Build) -> None:
        """Build the role, on a device from which the others are offloaded."""
        self._time_slots.make_room(self._group)
        self._group.become(build)

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Future[list[Any]]:
        """Call every rank in this role's time slot."""
        if not mark.needs_device:
            return self._group.call(method, arguments, mark)
        time_slot = self._time_slots.take(self._group)
        return _InTimeSlot(time_slot, self._group.call(method, arguments, mark))

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call every rank in this role's time slot; yield all answers at its end.

        A caller that called another role in between would take the device away in mid-work.
        """
        time_slot = self._time_slots.take(self._group)
        answered = self._group.stream(method, arguments, mark)
        time_slot.settle()
        return iter([[answer for answers in answered for answer in answers]])

    def close(self) -> None:
        """End the ranks."""
        self._group.close()


def sharers(config: ClusterConfig, roles: Sequence[RoleName]) -> list[list[RoleName]]:
    """Return the roles that share a device in time: one list for each set of shared slots.

    Args:
        config: Placement table: which roles are colocated, and whether they time-share.
        roles: The roles that have processes.
    """
    placed_roles: dict[RoleName, list[RoleName]] = {}
    for role in roles:
        placed_roles.setdefault(config.placement(role).colocate_with or role, []).append(role)
    return [
        together
        for host, together in placed_roles.items()
        if len(together) > 1 and _share_time(config, host)
    ]


def _share_time(config: ClusterConfig, host: RoleName) -> bool:
    if config.residency != "auto":
        return config.residency == "in_turn"
    gpus = config.placement(host).gpus
    return (config.gpus_per_rank if gpus is None else gpus) > 0


def time_shared(
    groups: Mapping[RoleName, Movable], together: Sequence[Sequence[RoleName]]
) -> dict[RoleName, Group]:
    """Return the groups; those that share slots time-share the device."""
    shared: dict[RoleName, Group] = dict(groups)
    for roles in together:
        time_slots = TimeSlots()
        shared.update({role: TimeSharing(groups[role], time_slots) for role in roles})
    return shared
