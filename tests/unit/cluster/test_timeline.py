"""Timeline: overlapping calls count once for a phase, each for its role."""

from __future__ import annotations

import pytest

from rlhf.cluster.timeline import Span, Timeline


def test_a_phase_lasts_from_first_start_to_last_end_and_draining_forgets():
    timeline = Timeline()
    for span in (
        Span("policy", "generate", 0.0, 4.0),
        Span("reference", "logprobs", 4.0, 6.0),
        Span("value", "values", 4.5, 7.0),
        Span("policy", "save", 8.0, 9.0),
    ):
        timeline.add(span)
    assert timeline.drain() == pytest.approx(
        {
            "time/generate_s": 4.0,
            "time/score_s": 3.0,
            "busy/policy_s": 5.0,
            "busy/reference_s": 2.0,
            "busy/value_s": 2.5,
        }
    )
    assert timeline.drain() == {}
