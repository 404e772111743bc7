"""Promise: settle takes an answer, or waits for one, and cannot tell them apart."""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.promise import Promise, settle


class Later:
    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, 0

    def result(self) -> object:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [3, "text", None, [1, 2]])
def test_an_answer_already_there_is_returned(answer):
    assert settle(answer) is answer


def test_a_tensor_is_an_answer_not_a_promise():
    tensor = torch.ones(2)
    assert settle(tensor) is tensor


def test_a_promise_is_asked_once():
    later = Later(7)
    assert isinstance(later, Promise)
    assert settle(later) == 7
    assert later.asked == 1


def test_what_the_other_side_raised_comes_out():
    with pytest.raises(ValueError, match="over there"):
        settle(Later(ValueError("over there")))
