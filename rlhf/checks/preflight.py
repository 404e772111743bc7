"""Preflight: a run makes the doctor's checks before it makes a folder or starts a process."""

from __future__ import annotations

from rlhf.checks.check import examine
from rlhf.checks.context import CheckContext
from rlhf.checks.listing import CHECKS
from rlhf.errors import with_warnings


def preflight(context: CheckContext) -> list[str]:
    """Make every check that needs no live cluster.

    Returns:
        Warnings, for the run's log.

    Raises:
        RLHFError: all that is wrong, a line a problem; of the class of the first. The warnings
            are its notes.
    """
    results = list(examine(context, [check for check in CHECKS if not check.connects]))
    errors = [result.error for result in results if result.error is not None]
    warnings = [line for result in results for line in result.warnings]
    if errors:
        lines = dict.fromkeys(line for error in errors for line in str(error).splitlines())
        error = type(errors[0])("\n".join(lines))
        raise with_warnings(error, warnings) from errors[0]
    return warnings
