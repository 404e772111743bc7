"""Step traces: what their figures mean, and that their file gives back the same traces."""

from __future__ import annotations

import pytest

from rlhf.observe import files
from rlhf.observe.spans import (
    KeptTrace,
    Span,
    StepTrace,
    append_trace,
    is_kept,
    read_traces,
    trace_of,
)

TRACE = StepTrace(
    10.0,
    (
        Span("policy", 0, "generate", 0.5, 4.0, "generate"),
        Span("policy", 1, "generate", 0.0, 3.5, "generate"),
        Span("reference", 0, "step_logprobs", 4.0, 6.0, "score"),
        Span("value", 0, "values", 4.5, 7.0, "score"),
        Span("policy", 0, "save", 8.0, 9.0),
        Span("policy", 1, "save", 8.0, 9.0),
    ),
)


def test_a_phase_counts_once_and_a_role_for_all_its_ranks():
    assert TRACE.figures() == pytest.approx(
        {
            "time/generate_s": 4.0,
            "time/score_s": 3.0,
            "busy/policy_s": 9.0,
            "busy/reference_s": 2.0,
            "busy/value_s": 2.5,
            "idle/policy": 0.55,
            "idle/reference": 0.8,
            "idle/value": 0.75,
        }
    )


def test_a_phase_does_not_count_what_lies_between_its_calls():
    turns = [
        Span("policy", 0, "step_logprobs", 0.0, 1.0, "score"),
        Span("policy", 0, "offload", 1.0, 1.5, "turn"),
        Span("value", 0, "onload", 1.5, 2.5, "turn"),
        Span("value", 0, "values", 2.5, 4.0, "score"),
    ]
    figures = StepTrace(4.0, tuple(turns)).figures()
    assert figures["time/score_s"] == pytest.approx(2.5)
    assert figures["time/turn_s"] == pytest.approx(1.5)


def test_scoring_counts_where_it_goes_beyond_the_writing():
    early = [
        Span("policy", 0, "generate", 0.0, 4.0, "generate"),
        Span("reference", 0, "step_logprobs", 1.0, 2.0, "score"),
        Span("reference", 0, "step_logprobs", 3.5, 5.0, "score"),
        Span("policy", 0, "step_logprobs", 4.0, 6.0, "score"),
        Span("policy", 0, "improve", 6.0, 8.0, "learn"),
    ]
    figures = StepTrace(8.0, tuple(early)).figures()
    times = {name: seconds for name, seconds in figures.items() if name.startswith("time/")}
    wanted = {"time/generate_s": 4.0, "time/score_s": 2.0, "time/learn_s": 2.0}
    assert times == pytest.approx(wanted)
    assert figures["busy/reference_s"] == pytest.approx(2.5)
    assert figures["idle/reference"] == pytest.approx(1 - 2.5 / 8)


def test_the_time_in_which_nobody_works_is_what_no_span_covers():
    assert TRACE.nobody() == pytest.approx(0.2)
    assert StepTrace(4.0, (Span("policy", 0, "improve", -1.0, 5.0, "learn"),)).nobody() == 0
    assert StepTrace(4.0).nobody() == 1


def test_a_step_trace_counts_from_its_start():
    trace = trace_of([Span("policy", 0, "improve", 1001.0, 1003.0, "learn")], 1000.0, 4.0)
    assert trace == StepTrace(4.0, (Span("policy", 0, "improve", 1.0, 3.0, "learn"),))


def test_few_steps_are_kept_however_long_the_run():
    kept = [step for step in range(100_000) if is_kept(step)]
    assert kept[:23] == [*range(20), 20, 30, 40]
    assert {990, 1000, 1100, 99_000} <= set(kept)
    assert not {1010, 10_100} & set(kept)
    assert len(kept) == 20 + 98 + 90 + 90


def test_step_traces_come_back_as_they_were_written(tmp_path):
    append_trace(tmp_path, KeptTrace("ppo", 3, TRACE))
    append_trace(tmp_path, KeptTrace("ppo", 4, StepTrace(1.23456, ())))
    assert read_traces(tmp_path) == [
        KeptTrace("ppo", 3, TRACE),
        KeptTrace("ppo", 4, StepTrace(1.2346, ())),
    ]


def test_lines_without_a_phase_get_it_from_their_method(tmp_path):
    (tmp_path / files.TIMELINE).write_text(
        '{"stage": "ppo", "step": 2, "seconds": 2, "spans": [["policy", 0, "step_rows", 0, 1],'
        ' ["policy", 0, "mine", 1, 2], ["policy", 0, "mine", 1, 2, "score"],'
        ' ["policy", 0, "mine", 1, 2, "nonsense"]]}\n'
    )
    (kept,) = read_traces(tmp_path)
    assert [span.phase for span in kept.trace.spans] == ["score", None, "score", None]


def test_no_file_and_damaged_lines_give_no_step_traces(tmp_path):
    assert read_traces(tmp_path) == []
    (tmp_path / files.TIMELINE).write_text(
        '{"stage": "ppo", "step": 1, "seconds": 2, "spans": 3}\n'
        '{"stage": "ppo", "step": 1, "seconds": 0, "spans": []}\n'
        '{"stage": "ppo", "step": 2, "seconds": 2, "spans": [["policy", 0, "rank", 0, 1], [1],'
        ' 5, ["policy", 0, "rank", 1, NaN], ["policy", 0, "rank", 2, 1]]}\n'
        '{"stage": "ppo", "step": 3, "seco'
    )
    assert read_traces(tmp_path) == [
        KeptTrace("ppo", 2, StepTrace(2.0, (Span("policy", 0, "rank", 0.0, 1.0, "learn"),)))
    ]
