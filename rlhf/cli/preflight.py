"""Preflight: a run makes the doctor's checks before it makes a folder or starts a process."""

from __future__ import annotations

from rlhf.cli.checks.case import Case
from rlhf.cli.checks.check import examine
from rlhf.cli.checks.listing import CHECKS


def preflight(case: Case) -> list[str]:
    """Make every check that needs no live cluster.

    Returns:
        Warnings, for the run's log.

    Raises:
        RLHFError: all that is wrong, a line a problem; of the class of the first.
    """
    findings = list(examine(case, [check for check in CHECKS if not check.connects]))
    errors = [finding.error for finding in findings if finding.error is not None]
    if errors:
        lines = dict.fromkeys(line for error in errors for line in str(error).splitlines())
        raise type(errors[0])("\n".join(lines)) from errors[0]
    warnings = [finding.text for finding in findings if finding.level == "warn"]
    return [line for text in warnings for line in text.splitlines()]
