"""Examine: every check is made, and a failure hides only what hangs on it."""

from __future__ import annotations

from rlhf.cli.checks.check import Caution, Check, examine
from rlhf.errors import ConfigError, DataError


def fails(case):
    raise DataError("q.jsonl:3: no\nq.jsonl:4: no")


def breaks_by_a_bug(case):
    raise KeyError("a bug")


def test_what_each_check_comes_to(case):
    checks = (
        Check(name="first", look=fails),
        Check(name="second", look=lambda case: case.command),
        Check(name="third", look=lambda case: Caution("slow")),
        Check(name="fourth", look=breaks_by_a_bug, needs="first"),
        Check(name="fifth", look=breaks_by_a_bug, needs="fourth"),
    )
    found = list(examine(case(), checks))
    assert [(finding.name, finding.level, finding.text) for finding in found] == [
        ("first", "FAIL", "q.jsonl:3: no\nq.jsonl:4: no"),
        ("second", "ok", "ppo"),
        ("third", "warn", "slow"),
        ("fourth", "skip", "needs first"),
        ("fifth", "skip", "needs fourth"),
    ]
    assert isinstance(found[0].error, DataError)
    assert not isinstance(found[0].error, ConfigError)
