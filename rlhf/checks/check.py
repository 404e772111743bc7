"""Check: one fault that can be found before a run, and the result of looking for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rlhf.checks.context import CheckContext
from rlhf.errors import RLHFError, warned

Level = Literal["ok", "warn", "skip", "FAIL"]


class CheckWarning(str):
    """The result of a check that found no fault but something to know; a line each."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check of `rlhf doctor`: its name and the function that makes it."""

    name: str
    look: Callable[[CheckContext], str]
    """Returns what it found, a CheckWarning where that is doubtful; raises RLHFError where a run
    would fail, with a line a problem."""
    needs: tuple[str, ...] = ()
    """Names of earlier checks; this one is skipped where one of them failed."""
    otherwise: Callable[[CheckContext], str] | None = None
    """What can be looked at even then; its result counts where it is a fault or a warning."""
    connects: bool = False
    """Whether it asks a live cluster; a run does so itself, once it is connected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """The result of one check: its level and its lines."""

    name: str
    level: Level
    text: str
    """One line, or one a problem."""
    error: RLHFError | None = None
    """What was raised, of a FAIL."""

    @property
    def warnings(self) -> list[str]:
        """What is doubtful, a line each; of a FAIL, what is to be known beside it."""
        if self.error is not None:
            return warned(self.error)
        return self.text.splitlines() if self.level == "warn" else []


def examine(context: CheckContext, checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Make every check; after a failed one only the checks that need it are skipped."""
    unknown: set[str] = set()
    for check in checks:
        absent = [name for name in check.needs if name in unknown]
        if absent:
            result = _skipped(check, context, f"needs {' and '.join(absent)}")
        else:
            result = _run(check, context)
        if absent or result.level in ("FAIL", "skip"):
            unknown.add(check.name)
        yield result


def _skipped(check: Check, context: CheckContext, why: str) -> CheckResult:
    """Return the result of a check whose needs are not met."""
    if check.otherwise is not None:
        result = _run(Check(name=check.name, look=check.otherwise), context)
        if result.level in ("FAIL", "warn"):
            return result
    return CheckResult(name=check.name, level="skip", text=why)


def _run(check: Check, context: CheckContext) -> CheckResult:
    try:
        text = check.look(context)
    except RLHFError as error:
        return CheckResult(name=check.name, level="FAIL", text=str(error), error=error)
    level = "warn" if isinstance(text, CheckWarning) else "ok"
    return CheckResult(name=check.name, level=level, text=text)
