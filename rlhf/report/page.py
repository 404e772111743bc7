"""The page: its sections in reading order, verdict first, details last."""

from __future__ import annotations

from importlib.resources import files as package_files
from pathlib import Path

from rlhf.observe import files
from rlhf.report.answers import answers_section
from rlhf.report.curves import all_curves
from rlhf.report.html import Markup, el, join, raw_style
from rlhf.report.outcome import summary, verdict_section
from rlhf.report.pipeline import pipeline_section
from rlhf.report.quality import quality_section
from rlhf.report.read import RunFiles, read_run
from rlhf.report.setup import facts, setup_section
from rlhf.report.timeline import timeline_section

POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy: the page runs no script and loads nothing, whatever an answer holds."""


def write_report(run_dir: Path) -> Path:
    """Write RUN/report.html from the files of a run and return its path.

    Sections for which the run has no data are left out; the page needs no network and no script.

    Raises:
        OSError: when the folder cannot be written to.
    """
    path = run_dir / files.REPORT
    files.replace_text(path, render(read_run(run_dir)))
    return path


def render(run: RunFiles) -> str:
    """Return the whole page as text."""
    sections = {
        "verdict": verdict_section(run),
        "answers": answers_section(run),
        "curves": all_curves(run),
        "quality": quality_section(run),
        "time": timeline_section(run),
        "setup": setup_section(run),
    }
    shown = {key: content for key, content in sections.items() if content}
    body = el(
        "main",
        _header(run, shown),
        pipeline_section(run),
        _warnings(run),
        *(el("section", content, id=key, class_="part") for key, content in shown.items()),
        el(
            "footer",
            f"Made by rlhf from the files of {run.name}; works offline and without scripts.",
        ),
    )
    return document(f"{run.name} \u2013 training report", body)


def document(title: str, body: Markup) -> str:
    """Return a whole page in the report's style: one file, no script, nothing loaded."""
    css = package_files("rlhf.report").joinpath("report.css").read_text("utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("link", rel="icon", href="data:,"),
        raw_style(css),
    )
    return f"<!doctype html>\n{el('html', head, el('body', body), lang='en')}\n"


def _header(run: RunFiles, shown: dict[str, Markup]) -> Markup:
    names = {
        "verdict": "Verdict",
        "answers": "Answers",
        "curves": "Curves",
        "quality": "Reward model",
        "time": "Time",
        "setup": "Setup",
    }
    links = [el("a", names[key], href=f"#{key}") for key in shown]
    pairs = [join([el("dt", name), el("dd", value)]) for name, value in facts(run)]
    return el(
        "header",
        el("p", "Training report", class_="eyebrow"),
        el("h1", run.name),
        el("p", summary(run), class_="lead"),
        el("dl", *(el("div", pair) for pair in pairs), class_="facts") if pairs else None,
        el("nav", *links, aria_label="Sections") if len(links) > 1 else None,
    )


def _warnings(run: RunFiles) -> Markup | None:
    if not run.warnings:
        return None
    count = len(run.warnings)
    title = "One thing to check" if count == 1 else f"{count} things to check"
    lines = [el("li", line) for line in run.warnings]
    return el("aside", el("h2", title), el("ul", *lines), class_="warnings")
