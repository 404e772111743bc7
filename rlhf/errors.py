"""Every error this package raises on purpose, and the exit code each one ends the program with.

All of them take one message argument, so they pickle and cross process borders whole.
A message says what (with its value), the rule, and the remedy.
"""

from collections.abc import Iterable
from typing import ClassVar, TypeVar

from rlhf.secret import cleaned, hidden

T = TypeVar("T", bound=BaseException)


class RLHFError(Exception):
    """Base of all deliberate errors."""

    exit_code: ClassVar[int] = 1


class ConfigError(RLHFError, ValueError):
    """The configuration asks for something impossible."""

    exit_code = 2


class DataError(RLHFError, ValueError):
    """A file, a row or a batch breaks its contract."""

    exit_code = 2


class ModelError(RLHFError, ValueError):
    """A model folder or tokenizer cannot serve the role it was given."""

    exit_code = 2


class CheckpointError(RLHFError, RuntimeError):
    """A checkpoint or artifact is missing, damaged, or of another run."""

    exit_code = 2


class WorkerError(RLHFError, RuntimeError):
    """A role process failed; names role, rank, node and method."""

    exit_code = 3


class LostWorkerError(WorkerError):
    """A rank or the cluster died or stands still, which says nothing against the program."""


class TrainingError(RLHFError, RuntimeError):
    """Training left the numbers it may trust (a NaN loss, a first ratio that is not 1)."""

    exit_code = 4


def warned(error: BaseException) -> list[str]:
    """Return what else there is to know beside an error, a line each: its notes."""
    notes: list[str] = getattr(error, "__notes__", [])
    return list(dict.fromkeys(line for note in notes for line in note.splitlines()))


def with_warnings(error: T, lines: Iterable[str]) -> T:
    """Return an error with warnings as its notes, which are told beside it."""
    for line in lines:
        if line not in warned(error):
            error.add_note(line)
    return error


def described(error: BaseException) -> str:
    """Return an error's kind and message on one line; a user's own may not even write itself."""
    try:
        message = cleaned(" ".join(hidden(str(error)).split()))
    except Exception:  # noqa: BLE001 - it has been told already that something went wrong
        message = "(no message)"
    return f"{type(error).__name__}: {message}"
