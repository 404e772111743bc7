"""Errors of remote ranks arrive as ours, named; a killed process is noticed soon."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import ray

from rlhf.errors import DataError, LostWorkerError, WorkerError
from rlhf.runtime.liveness import Liveness
from tests.contract import machines
from tests.contract.conftest import CANARY
from tests.contract.machines import Troublemaker
from tests.specs import on_every_rank

pytestmark = pytest.mark.ray


@pytest.fixture
def two(slot):
    group = slot("two")
    group.become(Troublemaker)
    return group


def test_answers_come_in_rank_order_with_each_ranks_arguments(two):
    answers = two.call("echo", [("a", 1), ("b", 2)]).result()
    assert answers == [(0, "a", 1), (1, "b", 2)]


def test_our_errors_arrive_as_themselves(two):
    with pytest.raises(DataError, match=r"^prompts.jsonl:3: no prompt$"):
        on_every_rank(two, "ours").result()


def test_other_errors_arrive_with_role_rank_and_method(two):
    with pytest.raises(WorkerError) as caught:
        on_every_rank(two, "theirs").result()
    message = str(caught.value)
    assert message.startswith("policy rank 1 of 2 on ")
    assert "failed in theirs: ZeroDivisionError: the last rank fell" in message
    assert 'raise ZeroDivisionError("the last rank fell")' in message


def test_a_group_answers_again_after_an_error(two):
    with pytest.raises(DataError):
        on_every_rank(two, "ours").result()
    assert on_every_rank(two, "echo", "still here").result() == (0, "still here")


def test_a_role_that_cannot_be_built_is_an_error(slot):
    with pytest.raises(WorkerError, match=r"policy rank . of 2 .* failed in become: TypeError"):
        slot("two").become(print_nothing)


def print_nothing() -> None:
    """Take no world, as no builder may."""


def test_calls_are_kept_on_the_timeline(ray_groups, two):
    ray_groups.timeline.drain()
    on_every_rank(two, "sleep", 0.05).result()
    spans = ray_groups.timeline.drain()
    assert [(span.role, span.rank, span.method) for span in spans] == [
        ("policy", 0, "sleep"),
        ("policy", 1, "sleep"),
    ]
    assert all(span.end - span.start >= 0.05 for span in spans)


def test_roles_that_are_asked_together_work_at_the_same_time(ray_groups, two):
    ray_groups.one.become(Troublemaker)
    ray_groups.timeline.drain()
    asked = [on_every_rank(group, "sleep", 0.5) for group in (two, ray_groups.one)]
    for answer in asked:
        answer.result()
    spans = ray_groups.timeline.drain()
    assert {span.role for span in spans} == {"policy", "reference"}
    assert max(span.start for span in spans) < min(span.end for span in spans)


def test_a_failed_rank_is_reported_while_its_peer_is_at_work(two):
    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"^policy rank 1 of 2 on .* failed in fall_alone: Zero"):
        on_every_rank(two, "fall_alone").result()
    assert time.monotonic() - start < 6


@pytest.fixture
def hasty(two):
    """Give the group a short deadline, once it is done with what it was asked before."""
    on_every_rank(two, "pid").result()
    patient, two._timeout_s = two._timeout_s, 2.0
    yield two
    two._timeout_s = patient


def test_a_silent_rank_is_named_with_its_node(hasty):
    silent = (
        "1 of 2 ranks of policy did not answer sleep within cluster.timeout_s=2, "
        f"ranks by node: {hasty.nodes[1]}: 1; raise it"
    )
    with pytest.raises(WorkerError) as caught:
        hasty.call("sleep", [(0.0,), (4.0,)]).result()
    assert str(caught.value).startswith(silent)


def test_a_dead_rank_is_named_though_its_peer_fails_too(ray_groups):
    group = ray_groups.doomed
    group.become(Troublemaker)
    assert on_every_rank(group, "meet", 0.0).result() == 2.0
    _, pid = group.call("pid", [(), ()]).result()
    streamed = group.stream("meet_between", [(600.0,), (600.0,)])
    waiting = on_every_rank(group, "meet", 600.0)
    assert next(streamed) == [(0, 0), (1, 1)]
    time.sleep(0.2)
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    asked = {"meet_between": lambda: next(streamed), "meet": waiting.result}
    for method, ask in asked.items():
        with pytest.raises(WorkerError) as caught:
            ask()
        assert str(caught.value).startswith(
            f"value rank 1 of 2 on {group.nodes[1]} died in {method} (killed, out of memory, or "
            "its node is gone): "
        )
        assert str(caught.value).endswith("its worker process has died")
    assert time.monotonic() - start < 30


def test_a_rank_that_was_stopped_is_named_with_the_place_it_stood_in(ray_groups):
    group, liveness = ray_groups.two, Liveness(5.0)
    group.become(Troublemaker)
    (pid, _) = group.call("pid", [(), ()]).result()
    liveness._token = group._liveness._token
    first = liveness.name("policy", 0)
    liveness.watch("policy", {"policy rank 0 of 2": group._workers[0]})
    working = group.call("sleep", [(30.0,), (0.0,)])
    while first not in liveness.last():
        time.sleep(0.1)
    time.sleep(2)  # one more sign of life, from within the call
    liveness.check()
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    with pytest.raises(
        LostWorkerError, match=r"^policy rank 0 of 2 gave no sign of life"
    ) as caught:
        while time.monotonic() - stopped < 60:
            liveness.check()
            time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - stopped < 15
    assert "(cluster.hang_s=5); it stood in sleep (" in str(caught.value)
    assert f"{Path(machines.__file__).name}:" in str(caught.value)
    liveness.close()
    with pytest.raises(LostWorkerError, match=r"keeps the ranks' signs of life died"):
        while time.monotonic() - stopped < 60:
            liveness.check()
            time.sleep(0.1)
    working.result()


def test_a_dead_rank_is_named_while_another_role_is_waited_for(ray_groups, two):
    two.become(Troublemaker)
    alive = ray_groups.doomed._workers[0]  # its peer was killed above
    pid, _, _ = ray.get(alive.call.remote("pid"))
    working = on_every_rank(two, "sleep", 6.0)
    os.kill(pid, signal.SIGKILL)
    start = time.monotonic()
    with pytest.raises(LostWorkerError, match=r"^value rank 0 of 2 on .* died \(killed"):
        working.result()
    assert time.monotonic() - start < 5
    assert on_every_rank(two, "echo", "here").result() == (0, "here")


def test_ranks_of_one_node_meet_where_no_other_machine_reaches_them(two):
    assert on_every_rank(two, "meeting_place").result() == ["127.0.0.1"]


def test_a_secret_reaches_the_ranks_and_no_file_of_ray(two):
    # Ray writes a process's runtime_env, mode 0644, into its folder: HF_TOKEN stood there.
    assert on_every_rank(two, "variable", "HF_TOKEN").result() == CANARY
    session = Path(on_every_rank(two, "ray_folder").result())
    logs = [path for path in (session / "logs").rglob("*") if path.is_file()]
    assert logs
    assert not [path for path in logs if CANARY.encode() in path.read_bytes()]
