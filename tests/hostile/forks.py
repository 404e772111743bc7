"""Command lines run by the public main, each in a fork of this process, which imported it all."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn

SLOW = ("rlhf.commands.table", "rlhf.cli.compose", "transformers.models.llama.modeling_llama")
LIMIT_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one command line."""

    code: int | None
    """None where it hung."""
    said: str
    """Standard output and error together."""

    def fault(self, *, works: bool) -> str | None:
        """Return what is wrong with how it ended: at best one line and exit 2, or exit 0."""
        told = [line for line in self.said.splitlines() if line.startswith("rlhf: ")]
        if self.code is None:
            return "it hangs"
        if "Traceback (most recent call last)" in self.said:
            return "a traceback"
        if self.code != (0 if works else 2):
            return f"exit {self.code}"
        return None if works or told else "no line says why"


def run(
    folder: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> Outcome:
    """Run one command line in a folder."""
    for name in SLOW:
        import_module(name)
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if not pid:
            _be_rlhf(folder, arguments, said.fileno(), environment or {})
        code = _wait(pid)
        said.seek(0)
        return Outcome(code, said.read().decode("utf-8", errors="replace"))


def _be_rlhf(
    folder: Path, arguments: Sequence[str], said: int, environment: Mapping[str, str]
) -> NoReturn:
    code = 70
    try:
        os.setpgid(0, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(folder)
        os.environ.update(environment)
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        sys.stdout = open(1, "w", encoding=encoding, closefd=False)  # noqa: SIM115
        sys.stderr = open(  # noqa: SIM115
            2, "w", encoding=encoding, errors="backslashreplace", closefd=False
        )
        code = _code_of(arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _code_of(arguments: Sequence[str]) -> int:
    from traceback import print_exc

    from rlhf.cli.main import main

    try:
        main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 - this is what is looked for
        print_exc()
    return 1


def _wait(pid: int) -> int | None:
    end, hung = time.monotonic() + LIMIT_S, False
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return None if hung else os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            hung = True
            os.killpg(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def write_rows(path: Path, rows: Sequence[object]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
