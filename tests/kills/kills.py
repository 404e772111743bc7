"""A run that is killed at one of its file events, and what the same command then makes of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rlhf.cli.main import main
from tests.integration.conftest import CLOCKED, FAST, SOURCES, write_data

COMMAND = (
    "pipeline",
    "run_dir=run",
    *FAST,
    *SOURCES,
    "evaluation.judge=reward.py:length",
    "checkpoint.every=2",
    "sft.validate_every=2",
    "reward_model.validate_every=2",
    "ppo.num_epochs=1",
    "tracking.console=false",
)
"""Every stage, its checkpoints, an evaluation and a report, on tiny models in one process."""
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = ("os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.symlink", "os.truncate")
"""What Python tells an audit hook of, besides the files it opens to write."""
CHANGING = ("dirty.patch", "manifest.json", "report.html", "timeline.jsonl", "trial.log")
"""Files that hold times, or the machine's state."""


Fate = Callable[[], None]
"""What happens to a run."""


@dataclass(frozen=True)
class Ended:
    """How a forked run ended."""

    code: int
    """Exit code; below 0 the signal that killed it."""
    events: int
    """File events in the run's folder until then."""
    last: str
    """The last of them."""


class Counter:
    """Counts the file events of this process inside a folder, and ends its luck at one of them."""

    def __init__(self, folder: Path, log: int, at: int | None, fate: Fate) -> None:
        """Write each event to the open file `log`; `fate` comes at event `at`."""
        self._folder, self._log, self._at, self._fate, self._seen = folder, log, at, fate, 0
        self._me = os.getpid()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        """See one audit event."""
        is_over = self._at is not None and self._seen >= self._at
        if is_over or os.getpid() != self._me or not self._counts(event, arguments):
            return
        self._seen += 1
        os.write(self._log, f"{event} {arguments[0]}\n".encode())
        if self._seen == self._at:
            self._fate()

    def _counts(self, event: str, arguments: tuple[object, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            return self._is_inside(path) and isinstance(flags, int) and bool(flags & WRITES)
        return event in EVENTS and self._is_inside(arguments[0])

    def _is_inside(self, path: object) -> bool:
        if not isinstance(path, str | os.PathLike):
            return False
        return Path(os.fsdecode(path)).absolute().is_relative_to(self._folder)


def killed() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def out_of_room() -> None:
    """Let no file of this process grow large any more, as a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, resource.RLIM_INFINITY))


def run(home: Path, at: int | None = None, fate: Fate = killed) -> Ended:
    """Run the command in a folder, in a fork of this process; kill it at an event if asked."""
    home.mkdir(exist_ok=True)
    log = home / "events.log"
    return _forked(lambda: _run(home, log, at, fate), log)


def _run(home: Path, log: Path, at: int | None, fate: Fate) -> None:
    if not (home / "prompts.jsonl").exists():
        write_data(home)
    os.chdir(home)
    told = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(told, 1)
    os.dup2(told, 2)
    sys.stdout = sys.stderr = os.fdopen(told, "w", buffering=1)  # pytest has its own
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    sys.addaudithook(Counter(home / "run", file, at, fate))
    main(COMMAND)


def _forked(callback: Callable[[], None], log: Path) -> Ended:
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            callback()
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return Ended(os.waitstatus_to_exitcode(status), len(lines), lines[-1] if lines else "")


def result(run_dir: Path) -> dict[str, object]:
    """Return everything of a finished run that two equal runs share, by name."""
    found: dict[str, object] = {}
    for path in sorted(path for path in run_dir.rglob("*") if path.is_file()):
        name = path.relative_to(run_dir).as_posix()
        if name in CHANGING or name == ".lock":
            continue
        if path.suffix == ".jsonl":
            found[name] = [_without_clocks(line) for line in path.read_text().splitlines()]
        elif name == "run.json":
            found[name] = {**json.loads(path.read_text()), "run_id": None}
        else:
            found[name] = path.read_bytes()
    return found


def _without_clocks(line: str) -> dict[str, object]:
    row = json.loads(line)
    metrics = row.get("metrics", {})
    kept = {name: value for name, value in metrics.items() if not name.startswith(CLOCKED)}
    return {**row, "time": None, "metrics": kept}


def differences(quiet: dict[str, object], other: dict[str, object]) -> list[str]:
    """Return the names of what is not the same."""
    names = sorted({*quiet, *other})
    return [name for name in names if quiet.get(name) != other.get(name)]
