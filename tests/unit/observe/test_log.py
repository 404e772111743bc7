"""The run log keeps figures once, resumes cleanly, and outlives its sinks."""

from __future__ import annotations

import json
import math

import pytest

from rlhf.catalog.declared import UndeclaredMetricError
from rlhf.config.observe import TrackingConfig
from rlhf.errors import TrainingError
from rlhf.flow.metrics import Metrics
from rlhf.observe import files
from rlhf.observe.log import RunLog
from rlhf.observe.samples import Sample
from rlhf.observe.spans import Span, StepTrace, read_traces


def _log(folder, **tracking):
    return RunLog(folder, TrackingConfig(console=False, **tracking), config={"seed": 0})


def _steps(folder, stage):
    rows = files.read_rows(folder / files.METRICS)
    return [row["step"] for row in rows if row["stage"] == stage]


def _warnings(folder):
    return [row["message"] for row in files.read_rows(folder / files.WARNINGS)]


def _train(log, stage, steps, first=0, value=1.0):
    log.begin(stage, steps, first)
    for step in range(first, steps):
        log.record(step, Metrics.of({"lr": value}), {"time/step_s": 0.5})
    log.end(stage)


def test_a_line_holds_stage_step_time_and_metrics(tmp_path):
    with _log(tmp_path) as log:
        _train(log, "sft", 1)
    (row,) = files.read_rows(tmp_path / files.METRICS)
    assert row.pop("time") > 1e9
    assert row == {"stage": "sft", "step": 0, "metrics": {"lr": 1.0, "time/step_s": 0.5}}


def test_a_resume_repeats_no_step_and_touches_no_other_stage(tmp_path):
    with _log(tmp_path) as log:
        _train(log, "sft", 3)
        _train(log, "ppo", 6)
    with _log(tmp_path) as log:
        _train(log, "ppo", 8, first=4, value=2.0)
    assert _steps(tmp_path, "sft") == [0, 1, 2]
    assert _steps(tmp_path, "ppo") == list(range(8))
    assert files.read_rows(tmp_path / files.METRICS)[-4]["metrics"]["lr"] == 2.0


def test_a_resume_knows_the_seconds_before_it(tmp_path):
    with _log(tmp_path) as log:
        _train(log, "ppo", 6)
        assert log.earlier_s == 0
    with _log(tmp_path) as log:
        _train(log, "ppo", 8, first=4)
        assert log.earlier_s == 4 * 0.5


def test_step_traces_are_kept_for_some_steps_and_repeat_no_step_after_a_resume(tmp_path):
    trace = StepTrace(2.0, (Span("policy", 0, "improve", 0.5, 1.5, "learn"),))
    for first, last in ((0, 33), (12, 41)):
        with _log(tmp_path) as log:
            log.begin("ppo", 41, first)
            for step in range(first, last):
                log.record(step, Metrics.of({"lr": 1.0}), trace=trace)
    traces = read_traces(tmp_path)
    assert [kept.step for kept in traces] == [*range(20), 20, 30, 40]
    assert {(kept.stage, kept.trace) for kept in traces} == {("ppo", trace)}


def test_not_finite_is_null_and_is_warned_of_once(tmp_path):
    with _log(tmp_path) as log:
        _train(log, "sft", 3, value=math.nan)
    rows = [json.loads(line) for line in (tmp_path / files.METRICS).read_text().splitlines()]
    assert [row["metrics"]["lr"] for row in rows] == [None] * 3
    assert _warnings(tmp_path) == ["lr is nan at step 0"]


def test_a_warning_is_kept_once_even_over_a_resume(tmp_path):
    for first in (0, 2):
        with _log(tmp_path) as log:
            log.begin("sft", 4, first)
            log.record(first, Metrics.of({"loss/train": 1.0}))
            log.warn("odd rows")
            log.warn("odd rows")
    assert _warnings(tmp_path) == ["odd rows"]


def test_a_stage_begun_anew_forgets_its_warnings(tmp_path):
    with _log(tmp_path) as log:
        log.begin("sft", 4)
        log.warn("odd rows")
    with _log(tmp_path) as log:
        log.begin("sft", 4)
    assert _warnings(tmp_path) == []


def test_alarms_ring_once_from_the_history_of_both_attempts(tmp_path):
    for first, last in ((0, 4), (4, 9)):
        with _log(tmp_path) as log:
            log.begin("ppo", 9, first)
            for step in range(first, last):
                log.record(step, Metrics.of({"objective/kl": 30.0 + step}))
    (message,) = _warnings(tmp_path)
    assert message.startswith("KL to the reference is 32.0 nats")


def test_a_misspelt_metric_is_an_error_that_names_the_nearest_and_records_nothing(tmp_path):
    with (
        pytest.raises(UndeclaredMetricError, match=r"^objective/kll: ppo has .* objective/kl\."),
        _log(tmp_path) as log,
    ):
        log.begin("ppo", 2)
        log.record(0, Metrics.of({"objective/kl": 1.0, "objective/kll": 1.0}))
    assert _steps(tmp_path, "ppo") == []


def test_a_failing_sink_is_named_once_and_stops_nothing(tmp_path):
    (tmp_path / files.METRICS).mkdir()
    with _log(tmp_path) as log:
        log.begin("ppo", 2)
        log.record(0, Metrics.of({"objective/kl": 1.0}))
        (tmp_path / files.METRICS).rmdir()
        log.record(1, Metrics.of({"objective/kl": 1.0}))
    (message,) = _warnings(tmp_path)
    assert message.startswith("metrics.jsonl failed (IsADirectoryError")
    assert _steps(tmp_path, "ppo") == [1]


def test_samples_are_kept(tmp_path):
    sample = Sample(prompt="p", response="r", score=None, finished=True, length=1)
    with _log(tmp_path) as log:
        log.samples("sft", 5, [sample])
    (row,) = files.read_rows(tmp_path / files.SAMPLES)
    assert (row["stage"], row["step"], row["response"], row["score"]) == ("sft", 5, "r", None)


def _ppo(log, steps, first=0, *, kl):
    log.begin("ppo", steps, first)
    for step in range(first, steps):
        log.record(step, Metrics.of({"objective/kl": kl}))


def test_a_run_too_far_for_three_steps_is_cut_and_the_third_is_on_record(tmp_path):
    with RunLog(tmp_path, TrackingConfig(console=False), config={}, max_kl=2.0) as log:
        _ppo(log, 2, kl=2.5)
        _ppo(log, 4, 2, kl=2.0)
        with pytest.raises(TrainingError, match=r"cut at step 7: KL 2.50 .* sweep.max_kl=2;"):
            _ppo(log, 9, 4, kl=2.5)
    assert _steps(tmp_path, "ppo") == list(range(7))


def test_a_resume_counts_the_steps_before_it(tmp_path):
    with _log(tmp_path) as log:
        _ppo(log, 2, kl=2.5)
    with (
        RunLog(tmp_path, TrackingConfig(console=False), config={}, max_kl=2.0) as log,
        pytest.raises(TrainingError, match="step 3:"),
    ):
        _ppo(log, 9, 2, kl=2.5)
