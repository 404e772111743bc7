"""A copy of the checkout in which a how-to of CONTRIBUTING.md is followed, step by step."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("rlhf", "tests", "conf", "examples", "docs", "bench", "docker", "launch", ".ci")
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


@dataclass(frozen=True, slots=True)
class Step:
    """One edit by hand."""

    file: str
    """Path from the top of the checkout."""
    old: str
    """Text that stands exactly once; empty for a new file."""
    new: str
    """What takes its place."""


class Copy:
    """A copy of the checkout."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need."""
        self.folder = folder / "checkout"
        self.touched: set[str] = set()
        """Files that were edited, by hand or by a command."""
        for name in COPIED:
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.folder / name, ignore=without)
        for path in ROOT.iterdir():
            if path.is_file():
                shutil.copy(path, self.folder / path.name)

    def follow(self, steps: Iterable[Step]) -> None:
        """Make the edits."""
        for step in steps:
            path = self.folder / step.file
            text = path.read_text(encoding="utf-8") if step.old else ""
            assert not step.old or text.count(step.old) == 1, f"{step.file}: {step.old!r}"
            assert step.old or not path.exists(), step.file
            path.write_text(text.replace(step.old, step.new) if step.old else step.new)
            self.touched.add(step.file)

    def make_docs(self) -> None:
        """Write the page of settings, as `make docs` does."""
        page = "docs/configuration.md"
        text = self.run("docs/make_configuration.py")
        (self.folder / page).write_text(text)
        self.touched.add(page)

    def check(self, *tests: str) -> None:
        """Run tests of the copy, and what needs no test: format and lint of the edited files."""
        files = [name for name in sorted(self.touched) if name.endswith(".py")]
        self.run("-m", "ruff", "format", "--check", "--quiet", *files)
        self.run("-m", "ruff", "check", "--quiet", *files)
        said = self.run("-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", *tests)
        assert re.search(r"\d passed", said), said

    def run(self, *words: str) -> str:
        """Run Python in the copy; return what it printed."""
        env = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def promised(what: str) -> int:
    """Return how many files CONTRIBUTING.md says it takes to add something."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(
        rf"^\*\*\.\.\. {re.escape(what)}\*\*[^:]*?\((\w+) files?\b", page, re.MULTILINE
    )
    assert found, f"CONTRIBUTING.md does not say how many files {what} takes"
    return NUMBERS[found[1]]
