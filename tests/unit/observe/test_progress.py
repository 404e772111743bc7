"""Progress predicts the rest from the median step."""

from __future__ import annotations

import time

from rlhf.observe.progress import Progress


def _progress(step_seconds, total=100, first=0):
    progress = Progress("ppo", total, first)
    now = time.monotonic()
    for step, seconds in enumerate(step_seconds, start=first):
        now += seconds
        progress.record(step, {"objective/scores": float(step)}, now)
    return progress


def test_one_slow_step_does_not_move_the_prediction():
    progress = _progress([2.0] * 9 + [500.0])
    assert abs(progress.remaining() - 2.0 * 90) < 1.0


def test_a_resumed_stage_counts_only_its_own_steps():
    progress = _progress([1.0] * 5, first=50)
    assert progress.done == 55
    assert abs(progress.remaining() - 45) < 1.0


def test_a_resumed_stage_is_summed_up_from_its_first_step_on():
    earlier = [
        {"objective/scores": 1.0, "time/step_s": 30.0},
        {"objective/scores": None, "objective/kl": 5.0, "time/step_s": 40.0},
    ]
    progress = Progress("ppo", 9, 2, earlier)
    progress.record(2, {"objective/scores": 7.0}, time.monotonic() + 1)
    assert progress.first == {"objective/scores": 1.0, "objective/kl": 5.0, "time/step_s": 30.0}
    assert (progress.last["objective/scores"], progress.last["objective/kl"]) == (7.0, 5.0)
    assert 70 <= progress.elapsed(time.monotonic()) < 75


def test_first_and_last_values_are_kept():
    progress = _progress([1.0] * 4)
    assert (progress.first["objective/scores"], progress.last["objective/scores"]) == (0.0, 3.0)


def test_a_step_recorded_twice_is_counted_once():
    progress = _progress([1.0])
    progress.record(0, {"loss/validation": 2.0}, time.monotonic() + 60)
    assert progress.done == 1
    assert abs(progress.remaining() - 99) < 2.0
    assert "loss/validation" in progress.last
