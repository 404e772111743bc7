"""RoleWorker, in this process: what it lets through and what it renames."""

from __future__ import annotations

import pickle
import socket
import weakref

import pytest
import torch

from rlhf.engine.world import World
from rlhf.errors import DataError, WorkerError
from rlhf.roles.remote import Remote, remote
from rlhf.runtime.worker import WORKERS, RoleWorker


class Role:
    def __init__(self, world):
        self.world = world
        self.weight = torch.ones(6)

    @remote(Remote(needs_device=False))
    def score_batch(self):
        return "no weights"

    def add(self, one, other):
        return one + other

    def count(self, number):
        yield from range(number)
        if number > 2:
            raise KeyError("too far")

    def ours(self):
        raise DataError("row 3")

    def theirs(self):
        raise KeyError("weight")


@pytest.fixture
def worker():
    placed_roles = RoleWorker("policy", 1, 2, threads=1)
    placed_roles._world = World(rank=1, size=2)
    placed_roles.become(Role)
    return placed_roles


def test_an_answer_comes_with_its_span(worker):
    answer, start, end = worker.call("add", 1, 2)
    assert answer == 3
    assert start <= end


def test_a_stream_ends_with_nothing_and_every_answer_comes_with_the_span_so_far(worker):
    answers = list(worker.stream("count", 2))
    assert [given for given, _, _ in answers] == [[0], [1], []]
    assert len({start for _, start, _ in answers}) == 1
    ends = [end for _, _, end in answers]
    assert answers[0][1] <= ends[0]
    assert ends == sorted(ends)


def test_an_error_in_a_stream_is_named_after_the_answers_before_it(worker):
    answers = worker.stream("count", 3)
    assert [next(answers)[0] for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(WorkerError, match="policy rank 1 of 2 .* failed in count: KeyError"):
        next(answers)


def test_our_errors_pass_and_others_are_named(worker):
    with pytest.raises(DataError, match=r"^row 3$"):
        worker.call("ours")
    with pytest.raises(WorkerError) as caught:
        worker.call("theirs")
    start = f"policy rank 1 of 2 on {socket.gethostname()} failed in theirs: KeyError: 'weight'"
    assert str(caught.value).startswith(start)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_old_role_is_gone_before_the_new_one_is_made(worker):
    old, seen = weakref.ref(worker._role), []
    worker.become(lambda world: seen.append(old()))
    assert seen == [None]


def test_becoming_drops_the_old_role_even_when_the_new_one_fails(worker):
    def impossible(world):
        raise ValueError("no such folder")

    with pytest.raises(WorkerError, match="failed in become: ValueError: no such folder"):
        worker.become(impossible)
    with pytest.raises(WorkerError, match="failed in add"):
        worker.call("add", 1, 2)


def test_an_offloaded_rank_refuses_calls_that_need_the_device(worker):
    freed, start, end = worker.move("offload", "a result to wait for")
    assert freed == 4 * 6
    assert start <= end
    with pytest.raises(WorkerError, match=r"failed in add: RuntimeError: .* is offloaded"):
        worker.call("add", 1, 2)
    with pytest.raises(WorkerError, match=r"failed in count: RuntimeError: .* is offloaded"):
        next(worker.stream("count", 1))
    assert worker.call("score_batch")[0] == "no weights"
    assert worker.move("onload")[0] == freed
    assert worker.call("add", 1, 2)[0] == 3
    assert worker._role.weight.tolist() == [1.0] * 6


def test_an_offloaded_rank_that_becomes_is_onloaded_and_an_empty_one_has_no_tensors(worker):
    worker.move("offload")
    worker.become(Role)
    assert worker.call("add", 1, 2)[0] == 3
    assert RoleWorker("policy", 0, 1, threads=1).move("offload")[0] == 0


def test_every_role_has_a_process_name_of_its_own():
    assert set(WORKERS) == {"policy", "reference", "reward", "value"}
    assert len({worker.__name__ for worker in WORKERS.values()}) == 4
