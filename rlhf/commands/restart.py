"""Restart: a command whose worker was lost starts again by itself, from its last checkpoint.

The process replaces itself by a new one of the same command line and process id: Ray would end it
anyway where its own processes died, and nothing of what failed is left over in it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from rlhf.checkpoint.artifact import ARTIFACT_FILE
from rlhf.checkpoint.ending import ENDING
from rlhf.commands.exit import TERMINATED, Program, RestartError, replace_process, say
from rlhf.config.experiment import Experiment
from rlhf.errors import LostWorkerError
from rlhf.observe.manifest import note_restart

VARIABLE: Final = "RLHF_RESTARTS"
"""Holds the Restarts so far, from one process to the next."""
LONGEST_WAIT_S: Final = 60.0
MOST_IN_VAIN: Final = 3
"""Ends without a new checkpoint in between after which no other start is tried."""
GOES_ON: Final = "the same command goes on from the last checkpoint"
SHOW_CURSOR: Final = "\x1b[?25h"


@dataclass(frozen=True, slots=True)
class Restarts:
    """What a run has had of them, handed from one process to the next."""

    run_dir: str
    count: int = 0
    reason: str = ""
    """Of the last one."""
    in_vain: int = 0
    """Ends in a row with no checkpoint in between."""
    reached: tuple[str, ...] = ()
    """Checkpoints and finished models when the last start began."""

    @property
    def wait_s(self) -> float:
        """Seconds before the next start: twice as many after each end in vain."""
        return min(LONGEST_WAIT_S, 2.0**self.in_vain)


@contextmanager
def restarting(experiment: Experiment) -> Iterator[None]:
    """Turn the loss of a worker in the block into what is to happen now.

    Raises:
        RestartError: where cluster.max_restarts allows another start.
        LostWorkerError: else, saying why it does not.
    """
    try:
        yield
    except LostWorkerError as error:
        raise lost(experiment, str(error)) from error


def lost(experiment: Experiment, reason: str) -> LostWorkerError:
    """Count an end, and return the error that says what happens now.

    Ray may end this process within milliseconds, so nothing is written here.
    """
    most, so_far = experiment.cluster.max_restarts, _so_far(experiment.run_dir)
    if not most or ENDING.is_asked:
        return LostWorkerError(f"{reason}; {GOES_ON}")
    if so_far.count >= most:
        return LostWorkerError(f"{reason}; cluster.max_restarts={most} are used up; {GOES_ON}")
    _hand_on(replace(so_far, count=so_far.count + 1, reason=reason))
    return RestartError(f"{reason}; starting again ({so_far.count + 1} of {most})")


def begin(experiment: Experiment, note: Callable[[str], None]) -> None:
    """Begin a start; after a loss note it in RUN/manifest.json, and wait before going on.

    Raises:
        LostWorkerError: when too many ended with no checkpoint in between.
    """
    so_far, reached = _so_far(experiment.run_dir), _reached(Path(experiment.run_dir))
    if not so_far.count:
        _hand_on(replace(so_far, reached=reached))
        return
    in_vain = so_far.in_vain + 1 if reached == so_far.reached else 0
    note_restart(Path(experiment.run_dir), so_far.reason)
    if in_vain >= MOST_IN_VAIN:
        raise LostWorkerError(
            f"{so_far.reason}; that is end {in_vain} with no checkpoint in between, so there is "
            f"no other start; {GOES_ON} once the cause is gone"
        )
    now = replace(so_far, in_vain=in_vain, reached=reached)
    _hand_on(now)
    note(f"start {now.count} after a loss, in {now.wait_s:g} s: {so_far.reason}")
    time.sleep(now.wait_s)


def when_cluster_ends(experiment: Experiment) -> Callable[[str], None]:
    """Return what to do when a process of our own cluster ends, before Ray ends this process."""

    def ended(process: str) -> None:
        if ENDING.is_asked:  # whoever asked this process may have asked those of Ray too
            say(f"Ray's {process} ended before the step in hand did; {GOES_ON}")
            os._exit(TERMINATED)
        error = lost(
            experiment, f"Ray's {process} on this machine ended (killed, or out of memory)"
        )
        say(f"{SHOW_CURSOR if sys.stderr.isatty() else ''}{error}")
        if not Program.is_ours:
            return
        if isinstance(error, RestartError):
            replace_process()
        os._exit(error.exit_code)

    return ended


def run_again(callback: Callable[[], object]) -> None:
    """Run a callback, and again whenever it asks for that; for a process that stays as it is."""
    try:
        while True:
            try:
                callback()
            except RestartError as error:
                say(f"{error}")
            else:
                return
    finally:
        os.environ.pop(VARIABLE, None)


def _so_far(run_dir: str) -> Restarts:
    given = os.environ.get(VARIABLE)
    found = Restarts(**json.loads(given)) if given else None
    if found is None or found.run_dir != run_dir:
        return Restarts(run_dir)
    return replace(found, reached=tuple(found.reached))


def _hand_on(restarts: Restarts) -> None:
    os.environ[VARIABLE] = json.dumps(asdict(restarts))


def _reached(run_dir: Path) -> tuple[str, ...]:
    found = [*run_dir.glob("checkpoints/*/*/manifest.json"), *run_dir.glob(f"*/{ARTIFACT_FILE}")]
    return tuple(sorted(str(path.relative_to(run_dir)) for path in found))
