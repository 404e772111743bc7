"""Residency: whose weights are on a device that several roles share; decided here and nowhere else.

Roles that sit together take turns. A call on one of them first parks the one whose turn it was,
then onloads this one. The driver waits for neither: it tells Ray what comes after what.
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
    """All ranks of a role on their way to or from the device."""

    @property
    def calls(self) -> Sequence[Any]:
        """What another move can be told to come after."""
        ...


class Movable(Group, Protocol):
    """A group whose tensors can leave the device."""

    def move(self, move: Move, after: Sequence[Any]) -> Moving:
        """Offload or onload every rank, once its earlier calls and those of `after` have ended."""
        ...


@dataclass(slots=True)
class TimeSlot:
    """The moves that begin a role's turn; waited for once, by the first of its calls to be."""

    moves: list[Moving]

    def settle(self) -> None:
        """Wait for the moves; raises what a rank raised in one."""
        while self.moves:
            self.moves.pop(0).result()


class TimeSlots:
    """Knows whose turn it is on one set of seats."""

    def __init__(self) -> None:
        """Start with empty seats."""
        self._on_device: Movable | None = None
        self._time_slot = TimeSlot([])

    def take(self, group: Movable) -> TimeSlot:
        """Give a role its turn, if it does not have it; return at once."""
        if self._on_device is not group:
            offloaded = self._offload()
            after = [call for move in offloaded for call in move.calls]
            self._time_slot = TimeSlot([*offloaded, group.move("onload", after)])
            self._on_device = group
        return self._time_slot

    def make_room(self, group: Movable) -> None:
        """Give a role its turn that is about to be made anew; wait until the seats are free."""
        if self._on_device is not group:
            self._time_slot = TimeSlot(self._offload())
            self._on_device = group
        self._time_slot.settle()

    def _offload(self) -> list[Moving]:
        return [] if self._on_device is None else [self._on_device.move("offload", ())]


@dataclass(frozen=True, slots=True)
class _InTimeSlot:
    """Answers that come after the moves that begin the turn."""

    time_slot: TimeSlot
    answers: Future[list[Any]]

    def result(self) -> list[Any]:
        """Wait for both; an error in a move is told rather than what it led to."""
        self.time_slot.settle()
        return self.answers.result()


class TimeSharing:
    """A group that is on the device only while it has work there."""

    def __init__(self, group: Movable, time_slots: TimeSlots) -> None:
        """Share seats with whoever has the same turns."""
        self.name, self.size = group.name, group.size
        self._group, self._time_slots = group, time_slots

    def become(self, build: Build) -> None:
        """Make the role anew, on a device that is free of the others."""
        self._time_slots.make_room(self._group)
        self._group.become(build)

    def call(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Future[list[Any]]:
        """Call every rank, when it is this role's turn."""
        if not mark.needs_device:
            return self._group.call(method, arguments, mark)
        time_slot = self._time_slots.take(self._group)
        return _InTimeSlot(time_slot, self._group.call(method, arguments, mark))

    def stream(
        self, method: str, arguments: Sequence[tuple[Any, ...]], mark: Remote = UNMARKED
    ) -> Iterator[list[tuple[int, Any]]]:
        """Call every rank, when it is this role's turn; give all at the end of the turn.

        Whoever was asked before would take the device from a role in the midst of its work.
        """
        time_slot = self._time_slots.take(self._group)
        answered = self._group.stream(method, arguments, mark)
        time_slot.settle()
        return iter([[answer for answers in answered for answer in answers]])

    def close(self) -> None:
        """End the ranks."""
        self._group.close()


def sharers(config: ClusterConfig, roles: Sequence[RoleName]) -> list[list[RoleName]]:
    """Return the roles that take turns with each other: one list for each set of shared seats.

    Args:
        config: Says who sits with whom, and whether they take turns.
        roles: Those that have processes.
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
    """Return the groups; those that share seats take turns."""
    shared: dict[RoleName, Group] = dict(groups)
    for roles in together:
        time_slots = TimeSlots()
        shared.update({role: TimeSharing(groups[role], time_slots) for role in roles})
    return shared
