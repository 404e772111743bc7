"""Restart: what the loss of a worker comes to, from one process of a command to the next."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from rlhf.commands.restart import (
    MOST_IN_VAIN,
    VARIABLE,
    RestartError,
    begin,
    lost,
    restarting,
    run_again,
)
from rlhf.errors import LostWorkerError, WorkerError
from tests import models


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Return the settings of a run with a number of restarts; nothing was lost so far."""
    monkeypatch.setenv(VARIABLE, "")

    def make(most: int, name: str = "run"):
        (tmp_path / name).mkdir(exist_ok=True)
        experiment = models.experiment("deepspeed", cluster={"max_restarts": most})
        return experiment.model_copy(update={"run_dir": str(tmp_path / name)})

    return make


def noted(experiment) -> list[str]:
    file = Path(experiment.run_dir) / "manifest.json"
    if not file.exists():
        return []
    return [entry["reason"] for entry in json.loads(file.read_text())["restarts"]]


def test_without_restarts_the_loss_ends_the_run_and_names_the_remedy(asked):
    told = r"^it died; the same command goes on from the last checkpoint$"
    with pytest.raises(LostWorkerError, match=told) as caught, restarting(asked(0)):
        raise LostWorkerError("it died")
    assert not isinstance(caught.value, RestartError)
    assert caught.value.exit_code == 3


def test_a_fault_of_the_program_is_no_loss(asked):
    with pytest.raises(WorkerError, match=r"^a bug$") as caught, restarting(asked(5)):
        raise WorkerError("a bug")
    assert type(caught.value) is WorkerError


def test_so_many_restarts_as_were_asked_for_and_no_more(asked, tmp_path):
    experiment, lines = asked(2), list[str]()
    begin(experiment, lines.append)
    assert lines == []
    for count in (1, 2):
        error = lost(experiment, "it died")
        assert isinstance(error, RestartError)
        assert str(error) == f"it died; starting again ({count} of 2)"
        (tmp_path / "run/checkpoints/ppo" / f"step_{count}").mkdir(parents=True)
        (tmp_path / "run/checkpoints/ppo" / f"step_{count}" / "manifest.json").touch()
        begin(experiment, lines.append)
    last = lost(experiment, "it died")
    assert type(last) is LostWorkerError
    assert str(last).startswith("it died; cluster.max_restarts=2 are used up; the same command")
    assert noted(experiment) == ["it died", "it died"]
    assert lines == [f"start {count} after a loss, in 1 s: it died" for count in (1, 2)]


def test_ends_without_a_new_checkpoint_wait_longer_and_end_soon(asked):
    experiment, lines = asked(100), list[str]()
    began = time.monotonic()
    begin(experiment, lines.append)
    for _ in range(MOST_IN_VAIN - 1):
        lost(experiment, "it died")
        begin(experiment, lines.append)
    assert [line.partition(":")[0] for line in lines] == [
        "start 1 after a loss, in 2 s",
        "start 2 after a loss, in 4 s",
    ]
    assert time.monotonic() - began > 6
    lost(experiment, "it died")
    with pytest.raises(
        LostWorkerError, match=r"^it died; that is end 3 with no checkpoint in"
    ) as e:
        begin(experiment, lines.append)
    assert not isinstance(e.value, RestartError)


def test_another_run_of_this_process_starts_with_none(asked):
    first, second = asked(1), asked(1, "other")
    begin(first, print)
    assert isinstance(lost(first, "it died"), RestartError)
    begin(second, print)
    assert noted(second) == []
    assert isinstance(lost(second, "it died"), RestartError)


def test_a_process_that_stays_as_it_is_runs_again_until_the_end(asked, capsys):
    experiment, starts = asked(5), list[int]()

    def run() -> None:
        begin(experiment, print)
        starts.append(len(starts))
        with restarting(experiment):
            if len(starts) < 2:
                raise LostWorkerError("it died")

    run_again(run)
    assert starts == [0, 1]
    assert "rlhf: it died; starting again (1 of 5)" in capsys.readouterr().err
