"""A weighted sum adds the scores of each response."""

from __future__ import annotations

import pytest

from rlhf.errors import DataError
from rlhf.rewards.mixture import weighted_sum


def test_weights_and_adds_by_response() -> None:
    assert weighted_sum([(2.0, [1.0, 2.0]), (-0.5, [4.0, 0.0])]) == [0.0, 4.0]


def test_one_part_without_rows() -> None:
    assert weighted_sum([(1.0, [])]) == []


@pytest.mark.parametrize("parts", [[], [(1.0, [1.0]), (1.0, [1.0, 2.0])]])
def test_parts_must_agree_in_length(parts: list[tuple[float, list[float]]]) -> None:
    with pytest.raises(DataError, match="of one length, got"):
        weighted_sum(parts)
