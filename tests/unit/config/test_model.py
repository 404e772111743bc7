"""Which modules get adapters is read one way, for those that make and those that count."""

from __future__ import annotations

import pytest

from rlhf.config.model import PeftConfig


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("all-linear", "all-linear"),
        (" all-linear ", "all-linear"),
        ("q_proj", ["q_proj"]),
        ("q_proj, v_proj", ["q_proj", "v_proj"]),
        (" q_proj ,v_proj, ", ["q_proj", "v_proj"]),
    ],
)
def test_spaces_say_nothing(typed, read):
    assert PeftConfig(target_modules=typed).targets == read
