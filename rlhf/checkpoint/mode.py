"""Who may read what a command writes: one umask, which every process of a run takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rlhf.config.experiment import RunMode

UMASKS: Final[dict[RunMode, int]] = {"private": 0o077, "group": 0o027, "everyone": 0o022}
"""What the mode of a new file or folder lacks; the setting says what it has."""


@contextmanager
def readable_by(mode: RunMode) -> Iterator[None]:
    """Let new files and folders of this process, and of those it starts, have this mode."""
    before = os.umask(UMASKS[mode])
    try:
        yield
    finally:
        os.umask(before)


def umask() -> int:
    """Return this process's umask."""
    current = os.umask(0o077)
    os.umask(current)
    return current
