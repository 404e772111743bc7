"""Several trials at a time: starts the next when one ends, and ends all when interrupted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from rlhf.sweeps.table import TrialEnd
from rlhf.sweeps.trial import Trial, TrialProcess


def run_several(
    trials: Sequence[Trial],
    at_once: int,
    *,
    started: Callable[[Trial], None],
    ended: Callable[[Trial, TrialEnd], None],
) -> None:
    """Run trials, each in a process of its own.

    Args:
        trials: The trials, in the order in which they start.
        at_once: Most trials that run at the same time.
        started: Called with every trial before it starts.
        ended: Called with every trial after it ended, also with those that were interrupted.

    Raises:
        KeyboardInterrupt: when interrupted; no trial runs any longer then.
    """
    waiting = deque(trials)
    running: dict[Future[TrialEnd], tuple[Trial, TrialProcess]] = {}
    with ThreadPoolExecutor(at_once) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    started(waiting[0])
                    trial = waiting.popleft()
                    process = TrialProcess(trial)
                    running[pool.submit(process.wait)] = (trial, process)
                for answer in wait(running, return_when=FIRST_COMPLETED).done:
                    ended(running.pop(answer)[0], answer.result())
        finally:
            _end(running, ended)


def _end(
    running: dict[Future[TrialEnd], tuple[Trial, TrialProcess]],
    ended: Callable[[Trial, TrialEnd], None],
) -> None:
    """Interrupt all at once, then wait for each."""
    for _, process in running.values():
        process.let_go()
    for answer, (trial, process) in running.items():
        process.stop()
        ended(trial, answer.result())
