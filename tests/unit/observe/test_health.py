"""Each alarm rings for its own sign, and for a healthy run none does."""

from __future__ import annotations

import math
import pickle
import random

import pytest

from rlhf.catalog.declared import alarms_of
from rlhf.catalog.stages import PPO
from rlhf.observe.health import Health, KLLimit
from tests.unit.observe import plain_alarms

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


def named_alarms(history):
    """The alarms that stand at the end of a history, by name."""
    return Health(PPO.name, history).alarms()


def alarms(history):
    return list(named_alarms(history).values())


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


@pytest.mark.parametrize("stage", ["sft", "reward_model", "start"])
def test_a_stage_without_declared_alarms_is_quiet(stage):
    assert Health(stage, [{"objective/kl": 30.0}] * 20).alarms() == {}


GRIDS = {
    "objective/kl": (-0.3, -0.05, 9.0, 10.0, 12.0),
    "completions/mean_length": (0.0, 30.0, 40.0, 50.0, 60.0),
    "policy/entropy_avg": (-1.0, 1.0, 2.0, 4.0),
    "completions/eos_rate": (0.5, 0.9, 0.95, 1.0),
    "value/clipfrac_avg": (0.0, 0.5, 0.6),
    "objective/scores": (-1.0, 0.0, 1.0, 2.0, 5.0),
    "objective/scores_std": (0.0, 0.5, 1.0),
    "completions/distinct_2": (0.0, 0.5, 0.7, 1.0),
    "value/explained_variance": (-0.5, 0.0, 0.5),
    "sampling/k3_mean": (0.0, 1e-3, 2e-3),
    "policy/approxkl_avg": (0.0, 9e-7, 1e-6, 1e-4),
    "lr": (1e-7, 1e-6, 2e-6),
}
"""Values at the limits and on both sides of them, so that ties and edges are met."""


def _history(seed):
    """Sixty steps in which metrics stay, jump, wander, go missing or are no numbers."""
    rng = random.Random(seed)
    missing = rng.choice((0.0, 0.0, 0.1, 0.5))
    silent = {name for name in GRIDS if rng.random() < 0.1}
    now = {name: rng.choice(grid) for name, grid in GRIDS.items()}
    for _ in range(60):
        step = {}
        for name, grid in GRIDS.items():
            if rng.random() < 0.1:
                now[name] = rng.choice(grid)
            value = now[name] * rng.choice((1.0, 1.0, rng.uniform(0.9, 1.1)))
            if name not in silent and rng.random() >= missing:
                step[name] = rng.choice((value,) * 30 + (None, math.nan, math.inf, True))
        yield step


def test_step_by_step_every_alarm_is_that_of_the_whole_history():
    """At every step of random histories: the same alarms, in the same order and words."""
    rang, quiet = set(), set()
    names = {alarm.name for _, alarm in alarms_of(PPO.name)}
    for seed in range(60):
        health, history = Health(PPO.name), []
        for step in _history(seed):
            history.append(step)
            health.see(step)
            found = list(health.alarms().items())
            assert found == list(plain_alarms.named_alarms(history).items()), (seed, len(history))
            rang |= dict(found).keys()
            quiet |= names - dict(found).keys()
    assert rang == quiet == names


def test_a_resume_goes_on_as_if_it_had_never_stopped():
    history = list(_history(7))
    whole, resumed = Health(PPO.name), Health(PPO.name, history[:23])
    for step in history[:23]:
        whole.see(step)
    for step in history[23:]:
        whole.see(step)
        resumed.see(step)
        assert resumed.alarms() == whole.alarms()


def test_what_is_remembered_does_not_grow_with_the_steps():
    for metric, alarm in alarms_of(PPO.name):
        sizes = []
        for steps in (300, 3000):
            sign = alarm.sign(metric)
            for _ in range(steps):
                sign.see(HEALTHY)
            sizes.append(len(pickle.dumps(sign)))
        assert sizes[1] - sizes[0] < 10, alarm.name


@pytest.mark.parametrize(
    ("kls", "passed"),
    [
        ([3.0, 3.0], None),
        ([3.0, 2.0, 3.0], None),
        ([1.0, 3.0, 3.0, 3.5], "at step 4: KL 3.50"),
        ([3.0, None, 3.0, 2.5], "at step 4: KL 2.50"),
        ([3.0, 3.0, 3.0, 2.0], None),
    ],
)
def test_a_limit_is_passed_once_three_steps_are_all_above_it(kls, passed):
    history = [{"objective/kl": kl} for kl in kls]
    assert KLLimit(2.0, history).passed() == passed
    assert KLLimit(None, history).passed() is None
