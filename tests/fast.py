"""python -m tests.fast: what a change is likely to have broken, in 90 s; `make check-fast`.

Format, lint, types and imports of everything; the tests of the rules; and the unit tests of the
rooms that differ from main, committed or not. Those of changed modules come first, and what there
was no time for is counted. `make check` is the whole.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TESTS_S = 65.0
"""Seconds after the start at which no further test begins."""
TOOLS = {
    "ruff format": ("ruff", "format", "--check", "--quiet", "."),
    "ruff check": ("ruff", "check", "--quiet", "."),
    "lint-imports": ("lint-imports", "--no-logo"),
}
RULES = "tests/architecture"
SETTINGS = ("tests/unit/config", "tests/unit/cli")
QUICK = "not ray and not slow and not gpu"


def main() -> int:
    """Run everything; return 0 when nothing failed."""
    begin, failed = time.monotonic(), list[str]()
    names = list(changed(ROOT))
    tests, others = chosen(names, ROOT)
    tell(f"{len(names)} files differ from main; tests: {', '.join(tests)}")
    if others:
        tell(f"not run here, though changed: {', '.join(others)}")
    types = subprocess.Popen([BIN / "pyright"], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    for name, words in TOOLS.items():
        done = subprocess.run(
            [BIN / words[0], *words[1:]], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            tell(f"{name} failed\n{done.stdout}{done.stderr}")
            failed.append(name)
    deadline = Deadline(begin + TESTS_S)
    pytest.main(["-n0", "-q", "-m", QUICK, "--no-header", *tests], plugins=[deadline])
    if deadline.num_failed:
        failed.append(f"{deadline.num_failed} tests")
    said, _ = types.communicate()
    if types.returncode:
        tell(f"pyright failed\n{said}")
        failed.append("pyright")
    tell(f"{time.monotonic() - begin:.0f} s; {'failed: ' + ', '.join(failed) if failed else 'ok'}")
    if deadline.num_left:
        tell(f"no time for {deadline.num_left} of {deadline.num_tests} tests; make check has them")
    return 1 if failed else 0


class Deadline:
    """Lets no test begin after a moment, and counts those it left."""

    def __init__(self, end: float) -> None:
        """Keep the moment, on time.monotonic's clock."""
        self._end = end
        self.num_tests = self.num_begun = self.num_failed = 0

    @property
    def num_left(self) -> int:
        """Tests that were chosen and never began."""
        return self.num_tests - self.num_begun

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests."""
        self.num_tests = len(session.items)

    def pytest_runtest_logstart(self) -> None:
        """Count one that begins."""
        self.num_begun += 1

    def pytest_runtest_logfinish(self) -> None:
        """End the session, once it is too late for another."""
        if time.monotonic() > self._end and self.num_left:
            pytest.exit(f"{self.num_left} tests are left", returncode=0)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Count failures, those of collecting too."""
        self.num_failed = session.testsfailed


def changed(root: Path) -> Iterator[str]:
    """Yield the files that differ from where this branch left main, and those git does not know."""
    base = git(root, "merge-base", "main", "HEAD") or git(root, "rev-parse", "HEAD")
    yield from git(root, "diff", "--name-only", "--no-renames", base.strip()).splitlines()
    yield from git(root, "ls-files", "--others", "--exclude-standard").splitlines()


def git(root: Path, *words: str) -> str:
    """Return what git prints, nothing where it fails."""
    return subprocess.run(
        ["git", *words], cwd=root, capture_output=True, text=True, check=False
    ).stdout


def chosen(names: Iterable[str], root: Path) -> tuple[list[str], list[str]]:
    """Return the tests of changed files, in the order to run them, and changed tests left out."""
    own: dict[str, None] = {}
    rooms: dict[str, None] = {}
    others: dict[str, None] = {}
    for name in sorted(names):
        path = PurePosixPath(name)
        if path.parts[0] == "conf":
            rooms.update(dict.fromkeys(SETTINGS))
        elif path.parts[0] == "rlhf" and path.suffix == ".py":
            inside = path.relative_to("rlhf")
            own[str("tests/unit" / inside.parent / f"test_{path.stem}.py")] = None
            if len(inside.parts) > 1:
                rooms[f"tests/unit/{inside.parts[0]}"] = None
        elif path.parts[:2] == ("tests", "unit") and path.name.startswith("test_"):
            own[name] = None
        elif path.parts[:2] == ("tests", "unit"):
            rooms[str(path.parent)] = None
        elif path.parts[0] == "tests" and path.name.startswith("test_"):
            others[name] = None
    there = [test for test in (*own, RULES, *rooms) if (root / test).exists()]
    left = [name for name in others if not name.startswith(RULES) and (root / name).exists()]
    return there, left


def tell(line: str) -> None:
    """Print at once, among what tools print."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
