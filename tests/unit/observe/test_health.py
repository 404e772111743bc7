"""Each alarm rings for its own sign, and for a healthy run none does."""

from __future__ import annotations

import pytest

from rlhf.observe.health import alarms, named_alarms

HEALTHY = {
    "objective/kl": 3.0,
    "completions/mean_length": 40.0,
    "policy/entropy_avg": 3.0,
    "completions/eos_rate": 0.97,
    "value/clipfrac_avg": 0.1,
    "objective/scores": 1.0,
    "objective/scores_std": 1.0,
    "completions/distinct_2": 0.8,
    "value/explained_variance": 0.5,
    "sampling/k3_mean": 1e-6,
    "policy/approxkl_avg": 1e-4,
    "lr": 1e-6,
}


def _run(metric, first, last):
    """Ten steps at `first`, then ten at `last`."""
    return [{**HEALTHY, metric: value} for value in [first] * 10 + [last] * 10]


def test_a_healthy_run_is_quiet():
    assert alarms([HEALTHY] * 20) == []


@pytest.mark.parametrize(
    ("name", "metric", "first", "fine", "bad"),
    [
        ("kl", "objective/kl", 3.0, 9.9, 10.1),
        ("still", "policy/approxkl_avg", 1e-4, 1.1e-6, 0.9e-6),
        ("length", "completions/mean_length", 40.0, 49.0, 51.0),
        ("length", "completions/mean_length", 40.0, 31.0, 29.0),
        ("entropy", "policy/entropy_avg", 3.0, 1.6, 1.4),
        ("eos", "completions/eos_rate", 0.97, 0.91, 0.89),
        ("value_clip", "value/clipfrac_avg", 0.1, 0.49, 0.51),
        ("variety", "completions/distinct_2", 0.8, 0.57, 0.55),
        ("value_useless", "value/explained_variance", 0.2, 0.01, -0.01),
        ("sampler", "sampling/k3_mean", 1e-6, 9e-4, 1.1e-3),
        ("negative_kl", "objective/kl", 3.0, -0.01, -0.2),
        ("score_jump", "objective/scores", 1.0, 3.9, 4.2),
    ],
)
def test_each_alarm_has_its_threshold(name, metric, first, fine, bad):
    assert named_alarms(_run(metric, first, fine)) == {}
    rung = named_alarms(_run(metric, first, bad))
    assert list(rung) == [name]
    assert "\n" not in rung[name] and ";" in rung[name]


def test_a_slow_rise_of_the_score_is_no_jump():
    history = [{**HEALTHY, "objective/scores": 0.1 * step} for step in range(100)]
    assert alarms(history) == []


@pytest.mark.parametrize(("last", "rings"), [(1.1e-6, True), (0.9e-6, False), (1e-9, False)])
def test_a_policy_at_the_end_of_its_schedule_may_stand_still(last, rings):
    moving = [{**HEALTHY, "lr": 2e-6}] * 10
    still = [{**HEALTHY, "policy/approxkl_avg": 1e-9, "lr": last}] * 10
    assert ("still" in named_alarms(moving + still)) == rings


def test_a_policy_that_stands_still_names_its_rate():
    line = named_alarms([{**HEALTHY, "policy/approxkl_avg": 0.0}] * 10)["still"]
    assert "raise policy.optimizer.lr (it is 1e-06)" in line
    assert "still" not in named_alarms([{**HEALTHY, "policy/approxkl_avg": 0.0}] * 9)


def test_missing_and_null_metrics_are_skipped():
    assert alarms([{}, {"objective/kl": None}] * 20) == []


def test_one_odd_batch_rings_nothing():
    assert alarms([*[HEALTHY] * 20, {**HEALTHY, "objective/kl": 20.0}]) == []
