"""Examine: every check is made, and a failure hides only what hangs on it."""

from __future__ import annotations

from rlhf.checks.check import Check, CheckWarning, examine
from rlhf.errors import ConfigError, DataError


def fails(context):
    raise DataError("q.jsonl:3: no\nq.jsonl:4: no")


def breaks_by_a_bug(context):
    raise KeyError("a bug")


def test_what_each_check_comes_to(context):
    checks = (
        Check(name="first", look=fails),
        Check(name="second", look=lambda context: context.command),
        Check(name="third", look=lambda context: CheckWarning("slow")),
        Check(name="fourth", look=breaks_by_a_bug, needs=("first",)),
        Check(name="fifth", look=breaks_by_a_bug, needs=("fourth",)),
    )
    found = list(examine(context(), checks))
    assert [(result.name, result.level, result.text) for result in found] == [
        ("first", "FAIL", "q.jsonl:3: no\nq.jsonl:4: no"),
        ("second", "ok", "ppo"),
        ("third", "warn", "slow"),
        ("fourth", "skip", "needs first"),
        ("fifth", "skip", "needs fourth"),
    ]
    assert isinstance(found[0].error, DataError)
    assert not isinstance(found[0].error, ConfigError)
