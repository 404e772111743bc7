"""What the machine refused: a full disk, a failing one, a file that may not be written."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Final

FAULTS: Final = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
        errno.ESTALE,
    }
)
"""Errors of files that no program is to blame for."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def is_fault_of_the_machine(error: OSError) -> bool:
    """Return whether the machine refused, and not because of a mistake in this program."""
    return error.errno in FAULTS


def explained(error: OSError, path: Path | None = None, num_bytes: int = 0) -> str:
    """Return what was refused, in one line, with cause and remedy.

    Args:
        error: What the system said.
        path: The file, where the error itself does not name it.
        num_bytes: Bytes it needs, where that is known.
    """
    named = error.filename if isinstance(error.filename, str) else None
    file = path or (Path(named) if named else None)
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno not in FULL:
        return f"cannot write or read {file or 'a file'}: {reason}"
    free = f"{shutil.disk_usage(existing(file)).free:,} are free" if file else "none is free"
    needs = f"{num_bytes:,} bytes" if num_bytes else "more bytes than there are"
    return (
        f"disk full: {file or 'a file'} needs {needs}, {free}; make room or choose a run_dir on "
        "another disk"
    )


def existing(folder: Path) -> Path:
    """Return the nearest folder above (or the folder itself) that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder
