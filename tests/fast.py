"""python -m tests.fast: what a change is likely to have broken, in 90 s; `make check-fast`.

Format, lint, types and imports of everything; the tests of the rules and of the modules that differ
from main, committed or not; then those of their rooms, while there is time. What there was none for
is told. `make check` is the whole.
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
SHIPPED = {"conf": SETTINGS, "examples": ("tests/examples",)}
QUICK = "not ray and not slow and not gpu"


def main() -> int:
    """Run everything; return 0 when nothing failed."""
    begin = time.monotonic()
    names = list(changed(ROOT))
    own, rooms, others = chosen(names, ROOT)
    tell(f"{len(names)} files differ from main; tests: {', '.join(own)}; then {', '.join(rooms)}")
    if others:
        tell(f"not run here, though changed: {', '.join(others)}")
    types = start("pyright")
    failed = [name for name, words in TOOLS.items() if not ended_well(name, start(*words))]
    deadline = Deadline(begin + TESTS_S)
    for part in (own, rooms):
        if part and not deadline.is_over():
            pytest.main(["-n0", "-q", "-m", QUICK, "--no-header", *part], plugins=[deadline])
        elif part:
            tell(f"no time for {', '.join(part)}; make check has them")
    failed += [] if ended_well("pyright", types) else ["pyright"]
    failed += [f"{deadline.num_failed} tests"] if deadline.num_failed else []
    if deadline.num_left:
        tell(f"no time for {deadline.num_left} of {deadline.num_tests} tests; make check has them")
    tell(f"{time.monotonic() - begin:.0f} s; {'failed: ' + ', '.join(failed) if failed else 'ok'}")
    return 1 if failed else 0


def start(program: str, *words: str) -> subprocess.Popen[str]:
    """Start one of the environment's tools."""
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen([BIN / program, *words], text=True, cwd=ROOT, **both)


def ended_well(name: str, tool: subprocess.Popen[str]) -> bool:
    """Wait for a tool; tell what it said if it failed."""
    said, _ = tool.communicate()
    if tool.returncode:
        tell(f"{name} failed\n{said}")
    return tool.returncode == 0


class Deadline:
    """Lets no test begin after a moment, and none twice; counts those it left."""

    def __init__(self, end: float) -> None:
        """Keep the moment, on time.monotonic's clock."""
        self._end = end
        self._begun: set[str] = set()
        self.num_tests = self.num_failed = 0

    @property
    def num_left(self) -> int:
        """Tests that were chosen and never began."""
        return self.num_tests - len(self._begun)

    def is_over(self) -> bool:
        """Return whether it is too late for another test."""
        return time.monotonic() > self._end

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what has run, and count the others."""
        items[:] = [item for item in items if item.nodeid not in self._begun]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count the tests that will run."""
        self.num_tests += len(session.items)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note one that begins."""
        self._begun.add(nodeid)

    def pytest_runtest_logfinish(self) -> None:
        """End the session, once it is too late for another."""
        if self.is_over() and self.num_left:
            pytest.exit(f"{self.num_left} tests are left", returncode=0)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Count failures; a session that could not collect has one."""
        broken = exitstatus in (2, 3, 4) and not session.testsfailed
        self.num_failed += session.testsfailed + int(broken and not self.is_over())


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


def chosen(names: Iterable[str], root: Path) -> tuple[list[str], list[str], list[str]]:
    """Return (rules and changed modules' tests, their rooms, other tests that changed)."""
    own: dict[str, None] = {}
    rooms: dict[str, None] = {}
    others: dict[str, None] = {}
    for name in sorted(names, key=lambda name: (-name.count("/"), name)):
        path = PurePosixPath(name)
        if path.parts[0] in SHIPPED:
            rooms.update(dict.fromkeys(SHIPPED[path.parts[0]]))
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
    left = [name for name in others if not name.startswith(RULES) and (root / name).exists()]
    return [RULES, *there(own, root)], there(rooms, root), left


def there(tests: Iterable[str], root: Path) -> list[str]:
    """Return those of some tests that exist."""
    return [test for test in tests if (root / test).exists()]


def tell(line: str) -> None:
    """Print at once, among what tools print."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
