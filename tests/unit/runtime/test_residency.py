"""Residency: which roles are offloaded and onloaded, in which order, and which calls wait."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rlhf.config.cluster import ClusterConfig, RolePlacement
from rlhf.errors import WorkerError
from rlhf.roles.remote import Remote
from rlhf.runtime.residency import sharers, time_shared
from tests.specs import on_every_rank

ROLES = ["policy", "reference", "reward", "value"]
WITH_POLICY = RolePlacement(colocate_with="policy")


@dataclass
class Asked:
    """One call of a group; its answer is its own text."""

    slot: RankSlot
    words: tuple[object, ...]
    taken: int = 0

    @property
    def calls(self):
        return [f"{self.words[0]} {self.words[1]}"]

    def result(self):
        self.taken += 1
        if self.words[1] in self.slot.broken:
            raise WorkerError(f"{self.words[0]} died in {self.words[1]}")
        return [self.words]


@dataclass
class RankSlot:
    """A group that only records its calls, in the log of all groups."""

    name: str
    log: list[Asked]
    broken: set[str] = field(default_factory=set)
    size: int = 1

    def become(self, build):
        self._ask("become")

    def call(self, method, arguments, mark=None):
        return self._ask(method)

    def stream(self, method, arguments, mark=None):
        self._ask(method)
        return iter([[(0, "first"), (1, "second")], [(0, "third")]])

    def move(self, move, after):
        return self._ask(move, *after)

    def close(self):
        self._ask("close")

    def _ask(self, *words):
        asked = Asked(self, (self.name, *words))
        self.log.append(asked)
        return asked


@pytest.fixture
def log():
    return []


@pytest.fixture
def groups(log):
    """All four roles on one device, each already built."""
    shared = time_shared({role: RankSlot(role, log) for role in ROLES}, [ROLES])
    for group in shared.values():
        group.become(object)
    log.clear()
    return shared


def words(log):
    return [" ".join(map(str, asked.words)) for asked in log]


def test_each_role_becomes_on_a_device_that_the_one_before_has_left(log):
    for group in time_shared({role: RankSlot(role, log) for role in ROLES}, [ROLES]).values():
        group.become(object)
    assert words(log) == [
        "policy become",
        "policy offload",
        "reference become",
        "reference offload",
        "reward become",
        "reward offload",
        "value become",
    ]
    assert all(asked.taken == 1 for asked in log if asked.words[1] == "offload")


def test_a_step_of_ppo_moves_each_role_once(log, groups):
    asked = [
        on_every_rank(groups[role], method)
        for role, method in [
            ("policy", "generate"),
            ("policy", "logprobs"),
            ("reference", "logprobs"),
            ("reward", "score_rows"),
            ("value", "values"),
            ("value", "improve"),
            ("policy", "improve"),
        ]
    ]
    assert not any(call.taken for call in log)
    assert words(log) == [
        *["value offload", "policy onload value offload", "policy generate", "policy logprobs"],
        *["policy offload", "reference onload policy offload", "reference logprobs"],
        *["reference offload", "reward onload reference offload", "reward score_rows"],
        *["reward offload", "value onload reward offload", "value values", "value improve"],
        *["value offload", "policy onload value offload", "policy improve"],
    ]
    assert [answer.result()[1] for answer in asked] == [
        *["generate", "logprobs", "logprobs", "score_rows", "values", "improve", "improve"]
    ]
    assert all(call.taken == 1 for call in log)


def test_what_is_streamed_is_yielded_at_the_end_of_the_time_slot(log, groups):
    streamed = groups["policy"].stream("generate", [()])
    assert words(log) == ["value offload", "policy onload value offload", "policy generate"]
    assert list(streamed) == [[(0, "first"), (1, "second"), (0, "third")]]
    assert all(move.taken == 1 for move in log[:2])


def test_an_error_in_a_move_is_raised_before_a_stream_is_waited_for(log, groups):
    groups["policy"]._group.broken.add("onload")
    with pytest.raises(WorkerError, match="policy died in onload"):
        groups["policy"].stream("generate", [()])


def test_nobody_moves_for_a_function(log, groups):
    free = Remote(needs_device=False)
    assert groups["reward"].call("score_batch", [()], free).result()
    assert words(log) == ["reward score_batch"]


def test_an_error_in_a_move_is_raised_not_what_it_led_to(log):
    slots = {role: RankSlot(role, log) for role in ROLES}
    groups = time_shared(slots, [ROLES])
    groups["policy"].become(object)
    slots["policy"].broken.add("offload")
    slots["value"].broken |= {"onload", "values"}
    with pytest.raises(WorkerError, match="policy died in offload"):
        on_every_rank(groups["value"], "values").result()


def test_a_role_with_slots_of_its_own_is_never_moved(log):
    slots = {role: RankSlot(role, log) for role in ROLES}
    groups = time_shared(slots, [["policy", "value"]])
    assert groups["reward"] is slots["reward"]
    assert (groups["value"].name, groups["value"].size) == ("value", 1)
    for role in ("policy", "reward", "value"):
        on_every_rank(groups[role], "save")
    assert "reward save" in words(log)
    assert not [line for line in words(log) if line.startswith("reward ") and "save" not in line]
    groups["value"].close()
    assert words(log)[-1] == "value close"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"gpus_per_rank": 1.0}, [["policy", "reference", "value"]]),
        ({}, []),
        ({"residency": "in_turn"}, [["policy", "reference", "value"]]),
        ({"gpus_per_rank": 1.0, "residency": "all"}, []),
        ({"policy": RolePlacement(gpus=1.0)}, [["policy", "reference", "value"]]),
        ({"gpus_per_rank": 1.0, "policy": RolePlacement(gpus=0.0)}, []),
        (
            {"gpus_per_rank": 1.0, "value": RolePlacement(colocate_with="reward")},
            [["policy", "reference"], ["reward", "value"]],
        ),
    ],
)
def test_which_roles_time_share(changes, wanted):
    slots = {"reference": WITH_POLICY, "value": WITH_POLICY}
    config = ClusterConfig(**{**slots, **changes})
    assert sharers(config, ROLES) == wanted


def test_roles_without_processes_do_not_time_share():
    config = ClusterConfig(residency="in_turn", reference=WITH_POLICY)
    assert sharers(config, ["policy", "reward"]) == []
