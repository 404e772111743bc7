"""RoleWorker, in this process: what it lets through and what it renames."""

from __future__ import annotations

import pickle
import socket

import pytest

from rlhf.cluster.worker import WORKERS, RoleWorker
from rlhf.engine.world import World
from rlhf.errors import DataError, WorkerError


class Role:
    def __init__(self, world):
        self.world = world

    def add(self, one, other):
        return one + other

    def ours(self):
        raise DataError("row 3")

    def theirs(self):
        raise KeyError("weight")


@pytest.fixture
def worker():
    seated = RoleWorker("policy", 1, 2, threads=1)
    seated._world = World(rank=1, size=2)
    seated.become(Role)
    return seated


def test_an_answer_comes_with_its_span(worker):
    answer, start, end = worker.call("add", 1, 2)
    assert answer == 3
    assert start <= end


def test_our_errors_pass_and_others_are_named(worker):
    with pytest.raises(DataError, match=r"^row 3$"):
        worker.call("ours")
    with pytest.raises(WorkerError) as caught:
        worker.call("theirs")
    start = f"policy rank 1 of 2 on {socket.gethostname()} failed in theirs: KeyError: 'weight'"
    assert str(caught.value).startswith(start)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_becoming_drops_the_old_role_even_when_the_new_one_fails(worker):
    def impossible(world):
        raise ValueError("no such folder")

    with pytest.raises(WorkerError, match="failed in become: ValueError: no such folder"):
        worker.become(impossible)
    with pytest.raises(WorkerError, match="failed in add"):
        worker.call("add", 1, 2)


def test_every_role_has_a_process_name_of_its_own():
    assert set(WORKERS) == {"policy", "reference", "reward", "value"}
    assert len({worker.__name__ for worker in WORKERS.values()}) == 4
