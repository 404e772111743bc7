"""Timeline: clocks that differ are put right by what the driver saw, and draining forgets."""

from __future__ import annotations

import pytest

from rlhf.observe.spans import Span
from rlhf.runtime.timeline import Call, Timeline


def call(rank, asked, start, end, answered, *, ahead=0.0):
    span = Span("policy", rank, "generate", start + ahead, end + ahead, "generate")
    return Call(span, asked, answered)


def drained(*calls):
    timeline = Timeline()
    for made in calls:
        timeline.add(made)
    spans = timeline.drain()
    assert timeline.drain() == []
    return [(span.start, span.end) for span in spans]


def test_a_clock_that_may_be_right_is_believed():
    calls = (call(0, 1.0, 1.1, 3.0, 3.5), call(0, 4.0, 4.0, 5.0, 5.0))
    assert drained(*calls) == [(1.1, 3.0), (4.0, 5.0)]


@pytest.mark.parametrize("ahead", [-100.0, -0.3, 0.3, 100.0])
def test_a_clock_that_is_off_is_bounded_by_all_calls_of_its_rank(ahead):
    calls = [
        call(1, 1.0, 1.001, 2.9, 3.0, ahead=ahead),
        call(1, 4.0, 4.5, 5.0, 5.001, ahead=ahead),
        call(0, 1.0, 1.1, 2.0, 3.0),
    ]
    first, second, other = drained(*calls)
    assert first == pytest.approx((1.001, 2.9), abs=0.002)
    assert second == pytest.approx((4.5, 5.0), abs=0.002)
    assert other == (1.1, 2.0)
