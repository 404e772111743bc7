"""Exit: the documented codes, and one line a problem."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from rlhf.checkpoint.ending import REQUESTS
from rlhf.commands.exit import end_with
from rlhf.errors import TrainingError, with_warnings


@pytest.fixture
def signals():
    kept = {name: signal.getsignal(name) for name in (*REQUESTS, signal.SIGALRM)}
    yield
    for name, handler in kept.items():
        signal.signal(name, handler)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        (signal.SIGTERM, 143, "asked to end"),
        (signal.SIGUSR1, 143, "asked to end"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_a_request_to_end_outside_a_step_ends_at_once(signals, capsys, request_, code, said):
    with pytest.raises(SystemExit) as caught:
        end_with(lambda: (os.kill(os.getpid(), request_), time.sleep(10)))
    assert caught.value.code == code
    assert capsys.readouterr().err == (
        f"rlhf: {said}; the same command goes on from the last checkpoint\n"
    )


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_what_the_disk_refuses_is_one_line_that_names_the_file(signals, capsys, number, tmp_path):
    def fail():
        raise OSError(number, "as the system says it", str(tmp_path / "run/file.json"))

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "run/file.json" in line
    assert line.endswith("the same command goes on from the last checkpoint")


def test_warnings_are_told_beside_the_error(signals, capsys):
    def fail():
        raise with_warnings(TrainingError("broken\nin two"), ["odd", "odd", "late"])

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == 4
    said = "rlhf: broken\nrlhf: in two\nrlhf: warning: odd\nrlhf: warning: late\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("kind", [FileNotFoundError, KeyError])
def test_a_mistake_of_ours_stays_a_traceback_without_control_characters(signals, capsys, kind):
    def fail():
        raise kind(errno.ENOENT, "no such file", "now\x1b[31mhere")

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert kind.__name__ in said
    assert "\x1b" not in said


def test_an_error_of_ours_is_a_line_a_problem_and_its_own_code(capsys):
    def fail():
        raise TrainingError("one\ntwo")

    with pytest.raises(SystemExit) as caught:
        end_with(fail)
    assert caught.value.code == 4
    assert capsys.readouterr().err == "rlhf: one\nrlhf: two\n"
