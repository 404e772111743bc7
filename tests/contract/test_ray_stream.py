"""Streams of ranks: given round by round while the ranks go on, and ended by the first failure."""

from __future__ import annotations

import time

import pytest

from rlhf.errors import DataError, WorkerError
from tests.contract.machines import Troublemaker
from tests.specs import on_every_rank

pytestmark = pytest.mark.ray


@pytest.fixture
def two(slot):
    group = slot("two")
    group.become(Troublemaker)
    return group


@pytest.mark.parametrize("seconds", [(0.0, 0.2), (0.2, 0.0)])
def test_the_nth_answers_of_all_ranks_come_together_however_long_each_takes(two, seconds):
    rounds = list(two.stream("count", [(3, seconds[0]), (1, seconds[1])]))
    assert rounds == [[(0, 0), (1, 0)], [(0, 1)], [(0, 2)]]


def test_a_rank_may_have_nothing_to_give(two):
    assert list(two.stream("count", [(0, 0.0), (1, 0.0)])) == [[(1, 0)]]


def test_others_work_between_two_answers_and_the_group_itself_after_the_last(ray_groups, two):
    ray_groups.one.become(Troublemaker)
    ray_groups.timeline.drain()
    streamed = two.stream("count", [(3, 0.4), (3, 0.4)])
    assert next(streamed) == [(0, 0), (1, 0)]
    asked = [on_every_rank(group, "sleep", 0.1) for group in (ray_groups.one, two)]
    assert len(list(streamed)) == 2
    for answer in asked:
        answer.result()
    spans = {(s.role, s.rank, s.method): s for s in ray_groups.timeline.drain()}
    assert len(spans) == 5
    other = spans["reference", 0, "sleep"]
    for rank in (0, 1):
        counting = spans["policy", rank, "count"]
        assert counting.end - counting.start >= 1.2
        assert counting.start < other.start < counting.end
        assert spans["policy", rank, "sleep"].start >= counting.end


def test_a_failed_rank_is_reported_while_its_peer_is_at_work_and_the_group_goes_on(two):
    streamed, start = two.stream("fall_between", [(), ()]), time.monotonic()
    assert next(streamed) == [(0, 0), (1, 1)]
    fallen = r"^policy rank 1 of 2 on .* failed in fall_between: ZeroDivisionError: the last"
    with pytest.raises(WorkerError, match=fallen):
        next(streamed)
    assert time.monotonic() - start < 6
    assert on_every_rank(two, "echo", "still here").result() == (0, "still here")


def test_our_errors_arrive_as_themselves(two):
    streamed = two.stream("ours_between", [(), ()])
    next(streamed)
    with pytest.raises(DataError, match=r"^prompts.jsonl:3: no prompt$"):
        next(streamed)


def test_the_deadline_is_for_the_whole_stream_and_names_who_is_silent(two):
    on_every_rank(two, "pid").result()
    patient, two._timeout_s = two._timeout_s, 2.0
    silent = (
        "1 of 2 ranks of policy did not answer count within cluster.timeout_s=2, "
        f"ranks by node: {two.nodes[1]}: 1; raise it"
    )
    try:
        streamed = two.stream("count", [(1, 0.0), (3, 1.5)])
        assert next(streamed) == [(0, 0), (1, 0)]
        with pytest.raises(WorkerError) as caught:
            next(streamed)
    finally:
        two._timeout_s = patient
    assert str(caught.value).startswith(silent)
