"""The page of a sweep: which trial is best, what it paid in KL, and how each went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from rlhf.observe import files
from rlhf.observe.numbers import duration, nats, short
from rlhf.report.chart import Chart, Line, line_chart
from rlhf.report.html import Markup, el, join
from rlhf.report.page import document
from rlhf.report.plots import MAIN, Plot
from rlhf.sweeps.front import front_figure
from rlhf.sweeps.table import Trial, settings_of, table

PAGE: Final = "sweep.html"
TONES: Final = "abcd"
"""Colours of the best trials, in the table and in the curves."""


def write_page(folder: Path, command: str, trials: Sequence[Trial]) -> Path:
    """Write SWEEP/sweep.html and return its path.

    Args:
        folder: the sweep's.
        command: what every trial ran.
        trials: best first.

    Raises:
        OSError: when the folder cannot be written to.
    """
    path = folder / PAGE
    reported = {trial.end.name for trial in trials if _report(folder, trial).is_file()}
    sections = [_front(trials), _table(trials, reported), _curves(trials)]
    body = el(
        "main",
        _header(folder.resolve().name, command, trials),
        *(el("section", part, class_="part") for part in sections if part is not None),
        el("footer", f"Made by rlhf from the trials in {folder.resolve().name}; works offline."),
    )
    files.replace_text(path, document(f"{folder.resolve().name} \u2013 sweep", body))
    return path


def _report(folder: Path, trial: Trial) -> Path:
    return folder / trial.end.name / files.REPORT


def _header(name: str, command: str, trials: Sequence[Trial]) -> Markup:
    broken = sum(not trial.is_sound for trial in trials)
    known = [
        ("Command", f"rlhf {command}"),
        ("Trials", str(len(trials))),
        ("Not finished", str(broken) if broken else ""),
        ("Time of all steps", duration(sum(trial.figures.seconds for trial in trials))),
    ]
    pairs = [join([el("dt", key), el("dd", value)]) for key, value in known if value]
    return el(
        "header",
        el("p", "Sweep", class_="eyebrow"),
        el("h1", name),
        el("p", _lead(trials), class_="lead"),
        el("dl", *(el("div", pair) for pair in pairs), class_="facts"),
    )


def _lead(trials: Sequence[Trial]) -> str:
    """Return the verdict: the best trial and its figures, then how the others ended."""
    sound = [trial for trial in trials if trial.is_sound]
    if not sound:
        return "No trial has finished yet."
    best, text = sound[0], ""
    if best.figures.score is not None:
        text = f" reaches the highest score, {short(best.figures.score)}"
        if best.figures.kl is not None:
            text += f", at a KL of {nats(best.figures.kl)} nats to the reference"
    changed = ", ".join(f"{key}={value}" for key, value in best.end.settings.items())
    sentences = [f"Trial 1 ({changed}){text or ' comes first'}."]
    cut = sum(trial.end.outcome in ("cut", "diverged") for trial in trials)
    if cut:
        sentences.append(f"{cut} of {len(trials)} trials diverged and ended early.")
    return " ".join(sentences)


def _front(trials: Sequence[Trial]) -> Markup | None:
    picture = front_figure(trials)
    if picture is None:
        return None
    lead = (
        "Each dot is a trial, numbered as in the table: means over the last quarter of its steps. "
        "The line joins the trials that no other beats in both score and KL. Rings are trials that "
        "were cut or did not finish; those beyond the picture stand at its edge."
    )
    return join([el("h2", "What the score costs"), el("p", lead, class_="soft"), picture])


def _table(trials: Sequence[Trial], reported: set[str]) -> Markup:
    heads, rows = table(trials)
    num_settings = len(settings_of(trials))
    kinds = [_kind(at, num_settings, len(heads)) for at in range(len(heads))]
    head = [el("th", text, scope="col", class_=k) for text, k in zip(heads, kinds, strict=True)]
    body = [
        el(
            "tr",
            el("th", row[0], scope="row", class_=_tone(trial, at)),
            *(el("td", text, class_=k) for text, k in zip(row[1:], kinds[1:], strict=True)),
            el("td", _link(trial, reported)),
        )
        for at, (trial, row) in enumerate(zip(trials, rows, strict=True))
    ]
    grid = el("table", el("thead", el("tr", *head, el("td"))), el("tbody", *body))
    return join([el("h2", "Trials, best first"), el("div", grid, class_="trials")])


def _kind(at: int, num_settings: int, num_columns: int) -> str | None:
    """Return the class of a column: settings stand left, figures right, words may wrap."""
    if at <= num_settings:
        return None
    return "said" if at == num_columns - 1 else "figure"


def _link(trial: Trial, reported: set[str]) -> Markup | None:
    if trial.end.name not in reported:
        return None
    return el("a", "report", href=f"{quote(trial.end.name, safe='=,')}/{files.REPORT}")


def _tone(trial: Trial, at: int) -> str | None:
    return TONES[at] if at < len(TONES) and trial.is_sound else None


def _curves(trials: Sequence[Trial]) -> Markup | None:
    charts = [
        chart
        for stage, plots in MAIN.items()
        for plot in plots
        if (chart := _chart(stage, plot, trials)) is not None
    ]
    if not charts:
        return None
    lead = (
        "Finished trials: the best in colour, numbered as in the table, the others in grey. "
        "A trial that was cut has its curves in its own report."
    )
    return join(
        [
            el("h2", "Curves"),
            el("p", lead, class_="soft"),
            el("div", *charts, class_="charts"),
        ]
    )


def _chart(stage: str, plot: Plot, trials: Sequence[Trial]) -> Markup | None:
    """Return one metric of every trial; None when none of the best recorded it."""
    lines = list(_lines(stage, plot.metrics[0][0], trials))
    if all(line.quiet for line in lines):
        return None
    chart = Chart(
        key=f"{stage}-{plot.title}".lower().replace(" ", "-").replace("_", "-"),
        title=plot.title,
        unit=plot.unit,
        lines=lines,
        percent=plot.percent,
        zero=plot.zero,
    )
    return line_chart(chart)


def _lines(stage: str, metric: str, trials: Sequence[Trial]) -> Iterator[Line]:
    """Yield a line a trial, the best last, so that they lie on top.

    A trial that diverged would press all others flat; its own report shows it.
    """
    for at, trial in reversed([*enumerate(trials)]):
        points = trial.run.curve(stage, metric)
        tone = _tone(trial, at)
        if points and trial.is_sound:
            yield Line(name=f"{at + 1}", points=points, tone=tone or "e", quiet=tone is None)
