"""Only one finite number a response passes; everything else is named."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from rlhf.errors import DataError
from rlhf.rewards.result import LARGEST, checked_scores, excerpt


class Rude:
    def __repr__(self):
        raise RuntimeError("no")


PROMPTS = ["first prompt", [{"role": "user", "content": "second prompt"}]]


@pytest.mark.parametrize(
    "result",
    [
        [1, 2.5],
        (1.0, 2.5),
        [True, 2.5],
        torch.tensor([1.0, 2.5]),
        np.array([1.0, 2.5], dtype=np.float32),
        [np.float32(1), np.float64(2.5)],
        [torch.tensor(1.0), torch.tensor(2.5)],
        torch.tensor([1.0, 2.5], dtype=torch.bfloat16, requires_grad=True),
    ],
)
def test_numbers_become_floats(result: object) -> None:
    scores = checked_scores(result, PROMPTS, "f")
    assert scores == [1.0, 2.5]
    assert [type(score) for score in scores] == [float, float]


@pytest.mark.parametrize(
    "bad",
    [
        *(None, float("nan"), float("inf"), "3.5", [1.0], 1j, torch.tensor([1.0])),
        *(10**400, 1e39, Fraction(10**400), np.float64(1e19), Decimal("1.5")),
        *(np.bool_(True), torch.tensor(float("nan")), Rude()),
    ],
)
def test_a_bad_entry_names_function_index_prompt_and_rule(bad: object) -> None:
    with pytest.raises(DataError) as caught:
        checked_scores([1.0, bad], PROMPTS, "rewards.py:f")
    message = str(caught.value)
    assert "rewards.py:f, response 1 (prompt 'second prompt'): score" in message
    assert "must be a finite number" in message
    assert "\n" not in message


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_length_names_both_counts(count: int) -> None:
    with pytest.raises(DataError, match=f"f returned {count} scores for 2 responses"):
        checked_scores([1.0] * count, PROMPTS, "f")


@pytest.mark.parametrize(
    ("result", "kind"),
    [
        (None, "None"),
        (1.5, "a float"),
        ("ab", "a str"),
        ({0: 1.0, 1: 2.0}, "a dict"),
        ({1.0, 2.0}, "a set"),
        (torch.zeros(2, 1), r"a tensor of shape \(2, 1\)"),
        (torch.tensor(1.0), r"a tensor of shape \(\)"),
    ],
)
def test_a_wrong_kind_is_named(result: object, kind: str) -> None:
    with pytest.raises(DataError, match=f"f returned {kind}; return"):
        checked_scores(result, PROMPTS, "f")


def test_a_two_dimensional_array_is_refused() -> None:
    with pytest.raises(DataError, match="response 0"):
        checked_scores(np.zeros((2, 2)), PROMPTS, "f")


def test_a_long_prompt_is_cut() -> None:
    with pytest.raises(DataError) as caught:
        checked_scores([None], ["x" * 5000], "f")
    assert len(str(caught.value)) < 300


def test_the_largest_score_squares_within_floats_of_32_bits():
    assert checked_scores([LARGEST, -LARGEST], PROMPTS, "f") == [LARGEST, -LARGEST]
    assert torch.isfinite(torch.tensor(LARGEST, dtype=torch.float32) ** 2)


def test_a_message_without_content_has_an_excerpt():
    assert excerpt([{"role": "assistant", "tool_calls": []}]) == "''"


def test_a_number_too_long_to_write_is_named_too() -> None:
    with pytest.raises(DataError, match="score a int too large to show; every score must"):
        checked_scores([1.0, 10**5000], PROMPTS, "f")
