"""Learning-rate curves."""

from __future__ import annotations

import pytest

from rlhf.algo.schedule import Schedule, learning_rate

SCHEDULES: list[Schedule] = ["constant", "linear", "cosine"]


def rates(schedule: Schedule, warmup_steps: int, total_steps: int = 20) -> list[float]:
    return [
        learning_rate(
            step, lr=2.0, warmup_steps=warmup_steps, schedule=schedule, total_steps=total_steps
        )
        for step in range(total_steps + 3)
    ]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_starts_at_a_tenth_and_reaches_the_peak(schedule: Schedule) -> None:
    # correctness 56: 10 steps from 0.1x, the cheap cure for Adam's first steps.
    found = rates(schedule, 10)
    assert found[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert found[10] == 2.0


def test_values_at_start_middle_and_end() -> None:
    # correctness 8, 57
    assert rates("constant", 0)[:20] == [2.0] * 20
    linear, cosine = rates("linear", 0), rates("cosine", 0)
    assert (linear[0], linear[10], linear[19]) == pytest.approx((2.0, 1.0, 0.1))
    assert (cosine[0], cosine[5], cosine[10]) == pytest.approx((2.0, 1.7071068, 1.0))
    assert rates("linear", 10)[15] == pytest.approx(1.0), "half-way between warm-up and end"
    for curve in (linear, cosine):
        assert curve[19] > 0, "the last step learns"
        assert curve[20:] == pytest.approx([0.0] * 3)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 1, 7, 20, 50])
def test_rates_stay_within_bounds_and_never_rise_after_warm_up(
    schedule: Schedule, warmup_steps: int
) -> None:
    found = rates(schedule, warmup_steps)
    assert all(0 <= rate <= 2.0 for rate in found)
    after = found[warmup_steps:]
    assert after == sorted(after, reverse=True)
