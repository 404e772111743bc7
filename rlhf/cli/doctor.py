"""Doctor: tells what a run would stumble over, one line a check."""

from __future__ import annotations

from rlhf.cli.checks.case import Case
from rlhf.cli.checks.check import examine
from rlhf.cli.checks.listing import CHECKS
from rlhf.errors import ConfigError


def diagnose(case: Case) -> None:
    """Print one line a check, more where it found more than one problem.

    Raises:
        ConfigError: naming how many checks failed.
    """
    failed = 0
    for finding in examine(case, CHECKS):
        failed += finding.level == "FAIL"
        for line in finding.text.splitlines():
            print(f"{finding.level:<5} {finding.name}: {line}", flush=True)  # noqa: T201 - the answer
    if failed:
        raise ConfigError(f"{failed} of {len(CHECKS)} checks failed")
