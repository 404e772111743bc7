"""Signs: what each watches, seen on a few numbers worked out by hand.

`tests/unit/observe/test_health.py` holds all of them to the whole history, step by step.
"""

from __future__ import annotations

import pytest

from rlhf.catalog.signs import Drifted, Fell, Jumped, Negative, Recent, Still


def _found(sign, values, **others):
    for at, value in enumerate(values):
        sign.see({"x": value, **{name: series[at] for name, series in others.items()}})
    return sign.found()


def test_recent_is_the_mean_of_the_last_five():
    values = [100.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert _found(Recent("x", above=2.9), values) == {"now": 3.0, "limit": 2.9, "after": 0}
    assert _found(Recent("x", above=3.0), values) is None
    assert _found(Recent("x", below=3.1), values) == {"now": 3.0, "limit": 3.1, "after": 0}
    assert _found(Recent("x", below=3.1), values[-4:]) is None


def test_recent_waits_for_steps_even_those_without_its_metric():
    sign = Recent("x", below=0.0, after_steps=7)
    assert _found(sign, [-1.0] * 5) is None
    sign.see({})
    assert sign.found() is None
    sign.see({})
    assert sign.found() == {"now": -1.0, "limit": 0.0, "after": 7}


@pytest.mark.parametrize(("last", "fell", "drifted"), [(4.0, True, True), (16.0, False, True)])
def test_the_ends_are_five_steps_each(last, fell, drifted):
    values = [10.0] * 5 + [99.0] * 3 + [last] * 5
    assert _found(Fell("x", by=0.5), values) == ({"first": 10.0, "last": last} if fell else None)
    found = _found(Drifted("x", by=0.5), values)
    assert found == {"first": 10.0, "last": last, "change": pytest.approx(10 * last - 100)}
    assert _found(Drifted("x", by=0.5), values[:9]) is None
    exactly_half = [10.0] * 5 + [5.0] * 5
    assert _found(Fell("x", by=0.5), exactly_half) is None
    assert _found(Drifted("x", by=0.5), exactly_half) is None
    assert _found(Drifted("x", by=0.5), [0.0] * 5 + [last] * 5) is None


def test_still_is_a_median_and_excuses_a_rate_below_half_of_its_peak():
    def still():
        return Still("x", limit=1.0, steps=3, rate="lr")

    values = [9.0, 0.1, 0.2, 9.0]
    found = {"now": 0.2, "steps": 3, "limit": 1.0, "at": " (it is 2)"}
    assert _found(still(), values, lr=[2.0] * 4) == found
    assert _found(still(), values, lr=[8.0, 2.0, 2.0, 2.0]) is None
    assert _found(still(), values, lr=[4.0, 2.0, 2.0, 2.0]) == found
    assert _found(still(), values) == {**found, "at": ""}
    assert _found(still(), [0.1, 0.1]) is None


def test_negative_wants_every_step_below_0_and_the_mean_below_its_limit():
    def negative():
        return Negative("x", limit=-0.5, steps=3)

    assert _found(negative(), [5.0, -1.0, -1.0, -0.1]) == {"now": pytest.approx(-0.7), "steps": 3}
    assert _found(negative(), [-0.4, -0.5, -0.6]) is None
    assert _found(negative(), [-3.0, -3.0, 0.0]) is None


def test_a_jump_is_the_steepest_rise_of_three_step_means_and_is_never_forgotten():
    def jumped():
        return Jumped("x", spread="s", spreads=3.0, steps=4)

    values = [0.0] * 6 + [6.0] * 9
    found = {"gain": 6.0, "last": 6.0, "spread": 1.0, "steps": 4}
    assert _found(jumped(), values, s=[1.0] * 5 + [99.0] * 10) == found
    assert _found(jumped(), [*values, *[0.0] * 20], s=[1.0] * 35) == found
    assert _found(jumped(), values, s=[2.0] * 15) is None
    assert _found(jumped(), values[:9], s=[1.0] * 9) is None
    slow = [0.5 * at for at in range(30)]
    assert _found(jumped(), slow, s=[1.0] * 30) is None
