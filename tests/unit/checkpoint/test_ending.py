"""A request to end waits for the end of a step, for a while; outside steps it ends at once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from rlhf.checkpoint.ending import REQUESTS, Ending, Terminated


@pytest.fixture
def ending() -> Iterator[Ending]:
    kept = {name: signal.getsignal(name) for name in (*REQUESTS, signal.SIGALRM)}
    made = Ending()
    for name in REQUESTS:
        signal.signal(name, made.ask)
    yield made
    signal.setitimer(signal.ITIMER_REAL, 0)
    for name, handler in kept.items():
        signal.signal(name, handler)


@pytest.mark.parametrize("request_", REQUESTS)
def test_outside_steps_it_ends_at_once(ending: Ending, request_: signal.Signals) -> None:
    with pytest.raises(Terminated):
        os.kill(os.getpid(), request_)
        time.sleep(5)


def test_within_a_step_it_waits(ending: Ending, capsys: pytest.CaptureFixture[str]) -> None:
    with ending.within_steps(60.0):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        assert ending.is_asked
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 30
    assert "SIGTERM: this step's end is saved if it comes within 60 s" in capsys.readouterr().err


def test_a_step_that_takes_too_long_is_left(ending: Ending) -> None:
    with pytest.raises(Terminated), ending.within_steps(0.05):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)


def test_asked_twice_it_ends_at_once(ending: Ending) -> None:
    with ending.within_steps(60.0):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)
        with pytest.raises(Terminated):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)


def test_without_time_to_wait_it_ends_at_once(ending: Ending) -> None:
    with pytest.raises(Terminated), ending.within_steps(0.0):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
