"""Sweep: the outcome of each trial of a sweep, kept in SWEEP/sweep.json, shown as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, cast

from rlhf.observe import files
from rlhf.observe.numbers import duration, nats, percent, short
from rlhf.report.figures import RunFigures, figures_of
from rlhf.report.read import RunFiles, number, read_run, section, words

SWEEP: Final = "sweep.json"
Outcome = Literal["done", "cut", "diverged", "failed", "interrupted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnd:
    """One trial: its settings, and how it ended."""

    name: str
    """Its folder below the sweep's."""
    settings: dict[str, str]
    """What it changes, by dotted path, as typed."""
    outcome: Outcome
    detail: str = ""
    """Why it is not done; empty when it is."""
    code: int = 0
    """Exit code of the trial as a run of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One row of the table."""

    end: TrialEnd
    figures: RunFigures
    run: RunFiles

    @property
    def is_sound(self) -> bool:
        """Whether it ended by itself, neither cut nor broken off."""
        return self.end.outcome == "done"


COLUMNS: Final = (
    ("score", "score", short),
    ("win_rate", "win rate", percent),
    ("accuracy", "accuracy", percent),
    ("loss", "loss", short),
    ("kl", "KL", nats),
    ("entropy", "entropy", short),
)
"""Figure, its heading, and how it is written; a figure that no trial has gets no column."""


def read_trials(folder: Path, ends: Iterable[TrialEnd]) -> list[Trial]:
    """Return the trials, best first: by score, or by what stands in for it; broken ones last."""
    trials: list[Trial] = []
    for end in ends:
        run = read_run(folder / end.name)
        trials.append(Trial(end=end, figures=figures_of(run), run=run))
    return sorted(trials, key=_order)


def read_ends(folder: Path) -> dict[str, TrialEnd]:
    """Return the trials in SWEEP/sweep.json whose folder still exists, by name."""
    trials = files.read_object(folder / SWEEP).get("trials")
    rows = cast("list[files.Row]", trials) if isinstance(trials, list) else []
    return {
        words(row, "name"): TrialEnd(
            name=words(row, "name"),
            settings={key: str(value) for key, value in section(row, "settings").items()},
            outcome=cast("Outcome", words(row, "outcome")),
            detail=words(row, "detail"),
            code=int(number(row, "code") or 0),
        )
        for row in rows
        if words(row, "name") and (folder / words(row, "name")).is_dir()
    }


def write_ends(folder: Path, command: str, trials: Sequence[Trial]) -> None:
    """Write SWEEP/sweep.json.

    Raises:
        OSError: when the folder cannot be written to.
    """
    rows = [{**asdict(trial.end), **asdict(trial.figures)} for trial in trials]
    record = {"command": command, "trials": rows}
    files.replace_text(folder / SWEEP, json.dumps(record, indent=2, allow_nan=False) + "\n")


def table(trials: Sequence[Trial]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the cells of the table, a row a trial in the order given."""
    changed = settings_of(trials)
    known = [asdict(trial.figures) for trial in trials]
    shown = [column for column in COLUMNS if any(row[column[0]] is not None for row in known)]
    heads = ["#", *changed, *(head for _, head, _ in shown), "time", "outcome"]
    rows = [
        [
            str(place),
            *(trial.end.settings.get(key, "") for key in changed),
            *(write(known[place - 1][figure]) for figure, _, write in shown),
            duration(trial.figures.seconds),
            outcome_text(trial.end),
        ]
        for place, trial in enumerate(trials, start=1)
    ]
    return heads, rows


def settings_of(trials: Sequence[Trial]) -> list[str]:
    """Return every setting that a trial changes."""
    return list(dict.fromkeys(key for trial in trials for key in trial.end.settings))


def outcome_text(end: TrialEnd) -> str:
    """Return a trial's outcome in words, on one line."""
    first = end.detail.partition("\n")[0]
    between = " " if end.outcome == "cut" else ": "
    return f"{end.outcome}{between}{first}" if first else end.outcome


def headline(end: TrialEnd, figures: RunFigures) -> str:
    """Return one line on a trial that ended."""
    if end.outcome != "done":
        return outcome_text(end)
    values = asdict(figures)
    known = [
        f"{head} {write(values[name])}" for name, head, write in COLUMNS if values[name] is not None
    ]
    return ", ".join([f"done in {duration(figures.seconds)}", *known])


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Return the sound trials that no other beats in both score and KL, in order of KL."""
    known = [trial for trial in trials if trial.is_sound and _point(trial) is not None]
    best: list[Trial] = []
    for trial in sorted(known, key=lambda trial: (trial.figures.kl, -(trial.figures.score or 0))):
        if not best or cast("float", trial.figures.score) > cast("float", best[-1].figures.score):
            best.append(trial)
    return best


def _point(trial: Trial) -> tuple[float, float] | None:
    kl, score = trial.figures.kl, trial.figures.score
    return None if kl is None or score is None else (kl, score)


def _order(trial: Trial) -> tuple[bool, bool, float]:
    figures = trial.figures
    loss = None if figures.loss is None else -figures.loss
    found = (figures.score, figures.win_rate, figures.accuracy, loss)
    value = next((value for value in found if value is not None), None)
    return not trial.is_sound, value is None, -(value or 0.0)
