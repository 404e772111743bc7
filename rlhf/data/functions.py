"""Rows of a Python function of the user's, FILE.py:NAME: as the file that would hold them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

from rlhf.errors import DataError, RLHFError, described
from rlhf.plugin import load, parted, place

WHAT: Final = "data source"


def as_lines(spec: str) -> bytes:
    """Return what the function returns or yields, as JSON Lines.

    It is called without arguments, and once a process: what is trained on is what was hashed.

    Args:
        spec: FILE.py:NAME, the file relative to the working folder, or packaged:NAME/KIND.

    Raises:
        ConfigError: when there is no such function, or its file does not run.
        DataError: when it raises, exits, or gives something that JSON cannot hold.
    """
    file, _ = parted(spec, WHAT)
    return _called(spec, file.absolute(), file.stat().st_mtime_ns)


@cache
def _called(spec: str, file: Path, changed_ns: int) -> bytes:
    """Call the function; again for a file of another folder, or one that has changed since."""
    function, lines = load(spec, WHAT), list[str]()
    try:
        for row in function():
            lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    except RLHFError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(
            f"{WHAT} {spec}, row {len(lines) + 1}: {place(error, file)}: {described(error)}; it "
            "must return or yield dicts of what JSON holds, and take no arguments"
        ) from error
    return "".join(lines).encode(errors="surrogatepass")
