"""The runner: breaks a copy of the code one way at a time, and asks the copied tests."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.mutations.mutation import ROOT, Mutation, MutationError

COPIED = ("rlhf", "tests", "conf", "examples", "docs")
WIDER = ("tests/unit", "tests/golden")
"""Asked when the selection of a mutation lets it through."""
LIMIT_S = 300.0
"""Seconds for one selection; a wider one gets four times as many."""
TOLD = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+(?:\[.*?\])?)(?: - (.*))?$", re.MULTILINE)
CRASHES = ("NameError", "UnboundLocalError", "ImportError", "SyntaxError", "AttributeError")
"""What says that code does not run at all, which no test needs to notice."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the tests say of the code in a copy."""

    verdict: Literal["caught", "survived", "broken"]
    told: str
    """The test that failed, or why there is no answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mutation."""

    mutation: Mutation
    answer: Answer
    seconds: float


class Copy:
    """A copy of the checkout in a folder of its own, and a server that runs its tests."""

    def __init__(self, folder: Path) -> None:
        """Copy what the tests need, and make sure that it is what Python imports there."""
        self.folder, self._output = folder / "checkout", folder / "output.txt"
        self._scratch = folder / "scratch"
        self.folder.mkdir()
        for name in COPIED:
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, self.folder / name, ignore=without)
        for path in ROOT.iterdir():
            if path.is_file() and path.suffix in {".toml", ".md"}:
                shutil.copy(path, self.folder / path.name)
        imported = self._start("-c", "import rlhf; print(rlhf.__file__)").communicate()[0].strip()
        if Path(imported).resolve() != (self.folder / "rlhf" / "__init__.py").resolve():
            raise MutationError(f"Python imports {imported or 'nothing'}, not the copy")
        self._server = self._start("-m", "tests.mutations.server")

    def ask(self, tests: Sequence[str], limit: float) -> Answer:
        """Run some tests, up to the first that fails."""
        options = ("-n0", "-x", "-q", "-p", "no:cacheprovider", f"--basetemp={self._scratch}")
        asked = {"arguments": [*options, *tests], "output": str(self._output), "limit": limit}
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        code = self._server.stdout.readline()
        if not code:
            raise MutationError(f"the process that runs the tests ended with {self._server.poll()}")
        return judge(int(code), self._output.read_text(encoding="utf-8", errors="replace"))

    def close(self) -> None:
        """End the server."""
        self._server.communicate()

    def try_out(self, mutation: Mutation, wider: Sequence[str], limit: float) -> Outcome:
        """Ask the mutation's own tests and, if it gets through, the wider ones."""
        began = time.monotonic()
        answer = self._ask_broken(mutation, mutation.tests, limit)
        if answer.verdict == "survived":
            answer = self._ask_broken(mutation, wider, 4 * limit)
            # These were not tried on the code as it is, so whoever complains is asked once more.
            if answer.verdict == "caught" and self.ask([answer.told], limit).verdict != "survived":
                answer = Answer("broken", f"{answer.told} fails without it too")
        return Outcome(mutation, answer, time.monotonic() - began)

    def _ask_broken(self, mutation: Mutation, tests: Sequence[str], limit: float) -> Answer:
        """Break the copy, run some tests, mend the copy."""
        before, after = mutation.apply(self.folder)
        path = self.folder / mutation.file
        path.write_text(after, encoding="utf-8")
        try:
            return self.ask(tests, limit)
        finally:
            path.write_text(before, encoding="utf-8")

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        # No bytecode: a file written twice in one second would be taken for the old one. CI makes
        # hypothesis draw the same examples every time, and pytest tell the tests' names whole.
        quiet = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
        settings = {
            "CI": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.folder),
        }
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**quiet, **settings},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


def judge(code: int, output: str) -> Answer:
    """Return what pytest's exit code and last lines mean.

    Only a test that ran and failed catches anything: an error in collection, or code that does not
    run at all, says nothing of the suite.
    """
    failed = TOLD.search(output)
    if code == 0:
        return Answer("survived", "")
    if code == 1 and failed is not None:
        test, reason = failed.group(1), failed.group(2) or ""
        ran = not reason.startswith(CRASHES)
        return Answer("caught", test) if ran else Answer("broken", reason)
    lines = [line for line in output.strip().splitlines() if line] or [""]
    told = (
        "no answer in time" if code == -signal.SIGKILL else f"pytest ended with {code}: {lines[-1]}"
    )
    return Answer("broken", told)


def run(
    mutations: Sequence[Mutation],
    tell: Callable[[Outcome], None],
    *,
    wider: Sequence[str] = WIDER,
    num_workers: int = 1,
    limit: float = LIMIT_S,
) -> list[Outcome]:
    """Try mutations out, each worker in a copy of its own; return the outcomes in their order.

    Args:
        mutations: What to try.
        tell: Called with every outcome as it comes.
        wider: Tests to ask about what a mutation's own selection lets through.
        num_workers: Copies, and processes at one time.
        limit: Seconds for one selection.

    Raises:
        MutationError: when the tests fail on the code as it is.
    """
    with ExitStack() as stack:
        copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
        first = _copy(stack)
        _check_unbroken(first, mutations, limit)
        copies.put(first)
        for _ in range(num_workers - 1):
            copies.put(_copy(stack))

        def one(mutation: Mutation) -> Outcome:
            copy = copies.get()
            try:
                outcome = copy.try_out(mutation, wider, limit)
            finally:
                copies.put(copy)
            tell(outcome)
            return outcome

        with ThreadPoolExecutor(num_workers) as pool:
            return list(pool.map(one, mutations))


def _copy(stack: ExitStack) -> Copy:
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mutations-"))
    copy = Copy(Path(folder))
    stack.callback(copy.close)
    return copy


def _check_unbroken(copy: Copy, mutations: Sequence[Mutation], limit: float) -> None:
    selected = sorted({test for mutation in mutations for test in mutation.tests})
    whole = [
        test for test in selected if test.partition("::")[0] not in selected or "::" not in test
    ]
    answer = copy.ask(whole, 4 * limit)
    if answer.verdict != "survived":
        raise MutationError(f"the tests fail on the code as it is: {answer.told}")
