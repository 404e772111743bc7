"""Metrics: means that come out the same however the observations were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlhf.flow.metrics import Metrics


def test_of_records_means_and_sums_records_sums():
    assert Metrics.of({"loss": 2.0}, count=4)["loss"] == 2.0
    assert Metrics.sums({"loss": 2.0}, count=4)["loss"] == 0.5


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=12), st.integers(1, 5))
def test_merging_parts_gives_the_mean_of_the_whole(values, size):
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    merged = Metrics.merge(Metrics.sums({"x": float(sum(part))}, len(part)) for part in parts)
    assert merged["x"] == sum(values) / len(values)


def test_a_name_that_only_some_parts_have_keeps_its_own_count():
    merged = Metrics.merge([Metrics.of({"a": 1.0}), Metrics.of({"a": 3.0, "b": 5.0})])
    assert merged.means() == {"a": 2.0, "b": 5.0}
    assert list(merged) == ["a", "b"]


def test_nothing_counted_is_zero_and_an_unknown_name_is_an_error():
    assert Metrics.sums({"x": 0.0}, count=0)["x"] == 0.0
    assert Metrics().means() == {}
    with pytest.raises(KeyError):
        Metrics()["x"]
