"""Pulse: when a rank last gave a sign of life, and where it stood then.

What needs ranks is in tests/contract/test_ray_group.py.
"""

from __future__ import annotations

import time
import traceback

from rlhf.runtime.liveness import FRAMES, Pulse, stack_of


def test_the_last_sign_of_each_rank_counts():
    pulse = Pulse()
    assert pulse.last() == {}
    pulse.beat("policy-0", "f (file:1)")
    pulse.beat("policy-1", "g (file:2)")
    time.sleep(0.2)
    pulse.beat("policy-1", "h (file:3)")
    last = pulse.last()
    assert {rank: stack for rank, (_, stack) in last.items()} == {
        "policy-0": "f (file:1)",
        "policy-1": "h (file:3)",
    }
    assert 0.2 <= last["policy-0"][0] < 5
    assert last["policy-1"][0] < last["policy-0"][0]


def test_a_place_is_told_from_the_innermost_frame_outwards():
    def inner() -> traceback.StackSummary:
        return traceback.extract_stack()

    frames = inner()
    told = stack_of(frames)
    assert told.startswith(f"inner ({__file__}:")
    assert f" in test_a_place_is_told_from_the_innermost_frame_outwards ({__file__}:" in told
    assert told.count(" in ") == FRAMES - 1
