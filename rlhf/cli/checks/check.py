"""Check: one thing that can be told wrong beforehand, and what looking at it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from rlhf.cli.checks.case import Case
from rlhf.errors import RLHFError

Level = Literal["ok", "warn", "skip", "FAIL"]


class Caution(str):
    """What a check says that found nothing wrong, but something to know; a line each."""

    __slots__ = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One line of the doctor."""

    name: str
    look: Callable[[Case], str]
    """Says what it found, as a Caution where that is doubtful; raises RLHFError where a run would
    fail, with a line a problem."""
    needs: str | None = None
    """Name of an earlier check, without which this one has nothing to look at."""
    connects: bool = False
    """Whether it asks a live cluster; a run does so itself, once it is connected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check came to."""

    name: str
    level: Level
    text: str
    """One line, or one a problem."""
    error: RLHFError | None = None
    """What was raised, of a FAIL."""


def examine(case: Case, checks: Iterable[Check]) -> Iterator[Finding]:
    """Look at everything; a failure ends nothing, but what needs it is skipped."""
    unknown: set[str] = set()
    for check in checks:
        if check.needs in unknown:
            finding = Finding(name=check.name, level="skip", text=f"needs {check.needs}")
        else:
            finding = _look(check, case)
        if finding.level in ("FAIL", "skip"):
            unknown.add(check.name)
        yield finding


def _look(check: Check, case: Case) -> Finding:
    try:
        said = check.look(case)
    except RLHFError as error:
        return Finding(name=check.name, level="FAIL", text=str(error), error=error)
    level = "warn" if isinstance(said, Caution) else "ok"
    return Finding(name=check.name, level=level, text=said)
