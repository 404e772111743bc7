"""Check: one thing that can be told wrong beforehand, and what looking at it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rlhf.cli.checks.context import CheckContext
from rlhf.errors import RLHFError

Level = Literal["ok", "warn", "skip", "FAIL"]


class CheckWarning(str):
    """What a check says that found nothing wrong, but something to know; a line each."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    look: Callable[[CheckContext], str]
    """Says what it found, as a Caution where that is doubtful; raises RLHFError where a run would
    fail, with a line a problem."""
    needs: str | None = None
    """Name of an earlier check, without which this one has nothing to look at."""
    connects: bool = False
    """Whether it asks a live cluster; a run does so itself, once it is connected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """What one check came to."""

    name: str
    level: Level
    text: str
    """One line, or one a problem."""
    error: RLHFError | None = None
    """What was raised, of a FAIL."""


def examine(context: CheckContext, checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Look at everything; a failure ends nothing, but what needs it is skipped."""
    unknown: set[str] = set()
    for check in checks:
        if check.needs in unknown:
            result = CheckResult(name=check.name, level="skip", text=f"needs {check.needs}")
        else:
            result = _run(check, context)
        if result.level in ("FAIL", "skip"):
            unknown.add(check.name)
        yield result


def _run(check: Check, context: CheckContext) -> CheckResult:
    try:
        text = check.look(context)
    except RLHFError as error:
        return CheckResult(name=check.name, level="FAIL", text=str(error), error=error)
    level = "warn" if isinstance(text, CheckWarning) else "ok"
    return CheckResult(name=check.name, level=level, text=text)
