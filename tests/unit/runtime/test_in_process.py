"""InProcessGroup: a role here, spoken to like any group."""

from __future__ import annotations

import pytest

from rlhf.errors import DataError
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.timeline import Timeline
from tests.specs import on_every_rank


class Role:
    def __init__(self, world):
        self.world = world

    def generate(self, word):
        return self.world.size, word

    def count(self, number):
        for answer in range(number):
            self.last = answer
            yield answer

    def fail(self):
        raise DataError("row 3")


def test_calls_are_answered_and_kept_on_the_timeline():
    timeline = Timeline()
    group = InProcessGroup("policy", timeline)
    group.become(Role)
    assert on_every_rank(group, "generate", "hello").result() == (1, "hello")
    (span,) = timeline.drain()
    assert (span.role, span.rank, span.method) == ("policy", 0, "generate")
    assert span.end >= span.start > 1e9


def test_a_stream_is_given_at_once_when_all_is_there():
    timeline = Timeline()
    group = InProcessGroup("policy", timeline)
    group.become(Role)
    streamed = group.stream("count", [(3,)])
    assert next(streamed) == [(0, 0), (0, 1), (0, 2)]
    assert list(streamed) == []
    (span,) = timeline.drain()
    assert (span.role, span.method) == ("policy", "count")


def test_errors_pass_through():
    group = InProcessGroup("policy", Timeline())
    group.become(Role)
    with pytest.raises(DataError, match="row 3"):
        on_every_rank(group, "fail").result()


def test_a_closed_group_has_no_role():
    group = InProcessGroup("policy", Timeline())
    group.become(Role)
    group.close()
    with pytest.raises(AttributeError):
        on_every_rank(group, "generate", "hello")
