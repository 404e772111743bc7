"""The stopwatch adds up phases and starts anew after each step."""

from __future__ import annotations

from rlhf.observe.timing import Stopwatch


def test_phases_add_up_and_a_lap_starts_the_next_step():
    now = [10.0]
    watch = Stopwatch(lambda: now[0])
    for seconds in (2.0, 3.0):
        with watch.phase("generate"):
            now[0] += seconds
    now[0] += 1.0
    assert watch.lap() == {"time/generate_s": 5.0, "time/step_s": 6.0}
    now[0] += 4.0
    assert watch.lap() == {"time/step_s": 4.0}


def test_a_phase_that_raises_is_still_counted():
    now = [0.0]
    watch = Stopwatch(lambda: now[0])
    try:
        with watch.phase("learn"):
            now[0] += 7.0
            raise ValueError
    except ValueError:
        pass
    assert watch.lap()["time/learn_s"] == 7.0
