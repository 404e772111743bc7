"""The three checks of .pre-commit-config.yaml that no tool of the environment brings along.

python .ci/hooks.py end-of-file|large-files|merge-markers FILE...
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

LARGEST_BYTES = 500_000
MARKER = re.compile(rb"^(<{7} |>{7} |={7}$)", flags=re.MULTILINE)


def end_of_file(content: bytes) -> str:
    """Say what is wrong with the end of a file, if anything is."""
    right = not content or (content.endswith(b"\n") and not content.endswith(b"\n\n"))
    return "" if right else "does not end with exactly one newline"


def large_files(content: bytes) -> str:
    """Say that a file is too large to keep in the repository."""
    size = len(content)
    return f"has {size} bytes; the limit is {LARGEST_BYTES}" if size > LARGEST_BYTES else ""


def merge_markers(content: bytes) -> str:
    """Say that a merge was left unfinished."""
    return "has merge markers" if MARKER.search(content) else ""


CHECKS: dict[str, Callable[[bytes], str]] = {
    "end-of-file": end_of_file,
    "large-files": large_files,
    "merge-markers": merge_markers,
}


def main(check: str, names: list[str]) -> int:
    """Check the named files; return how the program ends."""
    problems = [
        f"{name} {problem}"
        for name in names
        if Path(name).is_file() and (problem := CHECKS[check](Path(name).read_bytes()))
    ]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
