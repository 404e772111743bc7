"""Future: an answer that is there, or that is changed once it is."""

from __future__ import annotations

import pytest

from rlhf.flow.future import Ready, Then


class Later:
    def __init__(self, answer: object) -> None:
        self.answer, self.asked = answer, 0

    def result(self) -> object:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_an_answer_already_there_is_returned():
    answer = [1, 2]
    assert Ready(answer).result() is answer


def test_then_asks_when_it_is_asked_and_changes_the_answer():
    later = Later([1, 2])
    changed = Then(later, sum)
    assert later.asked == 0
    assert changed.result() == 3
    assert later.asked == 1


def test_what_the_other_side_raised_comes_out():
    with pytest.raises(ValueError, match="over there"):
        Then(Later(ValueError("over there")), str).result()
