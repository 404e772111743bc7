"""Doctor: reports what would stop a run, one line a check."""

from __future__ import annotations

from rlhf.checks.check import examine
from rlhf.checks.context import CheckContext
from rlhf.checks.listing import CHECKS
from rlhf.errors import ConfigError


def diagnose(context: CheckContext) -> None:
    """Print one line a check, more where it found more than one problem.

    Raises:
        ConfigError: naming how many checks failed.
    """
    failed = 0
    for result in examine(context, CHECKS):
        failed += result.level == "FAIL"
        lines = [(result.level, line) for line in result.text.splitlines()]
        if result.error is not None:
            lines += [("warn", line) for line in result.warnings]
        for level, line in lines:
            print(f"{level:<5} {result.name}: {line}", flush=True)  # noqa: T201 - the answer
    if failed:
        raise ConfigError(f"{failed} of {len(CHECKS)} checks failed")
