"""Numbers are written briefly and without loss of sense."""

from __future__ import annotations

import math

import pytest

from rlhf.observe.numbers import duration, filled, finite, nats, percent, short, signed


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.234, "1.23"),
        (-0.5, "\u22120.500"),
        (12345.6, "12,346"),
        (1.2e-6, "1.2e-6"),
        (math.nan, "\u2013"),
        (None, "\u2013"),
    ],
)
def test_short(value, text):
    assert short(value) == text


def test_signed_and_percent():
    assert (signed(0.5, 2), signed(-0.5, 2), percent(0.744)) == ("+0.50", "\u22120.50", "74\u00a0%")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (42, "42 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (273600, "3 d 4 h")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [math.inf, math.nan, True, "3", None])
def test_only_finite_numbers_count(value):
    assert finite(value) is None


def test_a_line_is_filled_as_its_formats_say_and_what_is_missing_is_a_dash():
    line = "{a:short} {a:percent} {b/c:signed} {a:.1f} {steps} {none:short} {none:percent}"
    found = filled(line, {"a": 0.5, "b/c": 1.234, "steps": 7})
    assert found == "0.500 50\u00a0% +1.2 0.5 7 \u2013 \u2013"


@pytest.mark.parametrize(
    ("value", "text"),
    [(-7.2e-7, "\u22480"), (0.0, "0"), (2e-4, "2.0e-4"), (-0.5, "\u22120.500"), (None, "\u2013")],
)
def test_a_kl_of_rounding_is_about_0(value, text):
    assert nats(value) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(-0.001, "0\u00a0%"), (1.5, "150\u00a0%"), (math.nan, "\u2013"), (1e300, "1.0e302\u00a0%")],
)
def test_any_share_is_written_briefly(share, text):
    assert percent(share) == text
