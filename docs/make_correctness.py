"""Prints docs/correctness.md with its last column made from the tests' comments (`make docs`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.architecture.test_correctness import comments  # noqa: E402 - found by the line above

ROW = re.compile(r"^(\| (\d+) \|(?:[^|]+\|){2})")


def claims(root: Path) -> dict[int, set[str]]:
    """Return the tests that say they prove a row, by the row's number."""
    found: dict[int, set[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, rows in comments(path.read_text(encoding="utf-8")):
            for row in rows:
                found.setdefault(row, set()).add(f"{path.relative_to(root)}::{name}")
    return found


def rewritten(page: str, tests: dict[int, set[str]]) -> str:
    """Return the page with every row's tests in its last column."""
    lines: list[str] = []
    for line in page.splitlines():
        row = ROW.match(line)
        names = (
            "<br>".join(f"`{name}`" for name in sorted(tests.get(int(row[2]), ()))) if row else ""
        )
        lines.append(f"{row[1]} {names} |".replace("  |", " |") if row else line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = (ROOT / "docs" / "correctness.md").read_text(encoding="utf-8")
    sys.stdout.write(rewritten(text, claims(ROOT)))
