"""Several trials at a time: each in a process of its own, never more than asked for."""

from __future__ import annotations

from rlhf.config.experiment import Experiment
from rlhf.sweeps.several import run_several
from rlhf.sweeps.trial import Trial


def empty(folder, name):
    """Return a trial that soon fails: a report on a folder that holds no run."""
    return Trial(
        command="report",
        name=name,
        settings={},
        typed=[],
        experiment=Experiment(run_dir=str(folder / name)),
    )


def test_the_next_starts_when_one_ends_and_each_says_why_in_its_log(tmp_path):
    told = []
    run_several(
        [empty(tmp_path, name) for name in "abc"],
        2,
        started=lambda trial: told.append(("starts", trial.name)),
        ended=lambda trial, end: told.append((end.outcome, end.code, end.detail)),
    )
    assert [word[0] for word in told[:3]] == ["starts", "starts", "failed"]
    assert [word[0] for word in told].count("failed") == 3
    ends = {word[2] for word in told if word[0] == "failed"}
    assert ends == {f"run_dir={tmp_path / n} holds no run; give the folder of one" for n in "abc"}
    assert {word[1] for word in told if word[0] == "failed"} == {2}
    assert all("rlhf: run_dir=" in (tmp_path / n / "trial.log").read_text() for n in "abc")
