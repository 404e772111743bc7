"""Preflight: a run makes the doctor's checks before it makes a folder or starts a process."""

from __future__ import annotations

from rlhf.checks.check import examine
from rlhf.checks.context import CheckContext
from rlhf.checks.listing import CHECKS


def preflight(context: CheckContext) -> list[str]:
    """Make every check that needs no live cluster.

    Returns:
        Warnings, for the run's log.

    Raises:
        RLHFError: all that is wrong, a line a problem; of the class of the first.
    """
    results = list(examine(context, [check for check in CHECKS if not check.connects]))
    errors = [result.error for result in results if result.error is not None]
    if errors:
        lines = dict.fromkeys(line for error in errors for line in str(error).splitlines())
        raise type(errors[0])("\n".join(lines)) from errors[0]
    warnings = [result.text for result in results if result.level == "warn"]
    return [line for text in warnings for line in text.splitlines()]
