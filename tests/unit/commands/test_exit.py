"""Exit: the documented codes, and one line a problem."""

from __future__ import annotations

import os
import signal
import time

import pytest

from rlhf.commands.exit import end_with
from rlhf.errors import TrainingError


def test_a_request_to_end_is_reported_as_an_interruption(capsys):
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as caught:
            end_with(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(10)))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 130
    assert capsys.readouterr().err == (
        "rlhf: interrupted; the same command goes on from the last checkpoint\n"
    )


def test_an_error_of_ours_is_a_line_a_problem_and_its_own_code(capsys):
    def fail():
        raise TrainingError("one\ntwo")

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == 4
    assert capsys.readouterr().err == "rlhf: one\nrlhf: two\n"
