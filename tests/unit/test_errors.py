"""Errors are described on one line, whatever they are."""

from __future__ import annotations

from rlhf.errors import described


def test_an_error_that_cannot_be_written_is_described_all_the_same():
    class Odd(Exception):
        def __str__(self):
            raise ValueError

    assert described(Odd()) == "Odd: (no message)"
    assert described(KeyError("a\nb")) == "KeyError: 'a\\nb'"
