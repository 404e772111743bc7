"""Before and after: the policy's answers to the same prompts, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rlhf.catalog.stages import STAGES
from rlhf.observe import files
from rlhf.observe.numbers import short, signed
from rlhf.observe.samples import Sample, prompt_text
from rlhf.report.html import Markup, el, join
from rlhf.report.outcome import policy_names
from rlhf.report.read import RunFiles, number, objects, words

ORDER: Final = ("start", *(stage.name for stage in STAGES))
MOST_PAIRS: Final = 24
"""Judged pairs shown; the file holds them all."""

SAME: Final = 5e-4
"""A smaller change of a score is the rounding of another batch."""

Cell = tuple[str, float | None, Sequence[str]]
"""An answer, its score, and remarks."""


def answers_section(run: RunFiles) -> Markup | None:
    """Return the fixed prompts' answers and the judged pairs; None when there are neither."""
    columns = _latest(run)
    parts = [_samples_table(columns) if columns else None, _pairs(run, is_folded=bool(columns))]
    if not any(parts):
        return None
    lead = "The same prompts, answered at each point of training; nothing was selected."
    return join([el("h2", "Before and after"), el("p", lead, class_="soft"), *parts])


def _latest(run: RunFiles) -> list[tuple[str, list[Sample]]]:
    """Return the last samples of the last two stages that have any, earlier stage first."""
    found: list[tuple[str, list[Sample]]] = []
    for stage in ORDER:
        steps = [step for name, step in run.samples if name == stage]
        if steps:
            found.append((stage, run.samples[stage, max(steps)]))
    return found[-2:]


def _samples_table(columns: list[tuple[str, list[Sample]]]) -> Markup:
    titles = [_column_title(stage, at, len(columns)) for at, (stage, _) in enumerate(columns)]
    by_prompt = [{prompt_text(s.prompt): s for s in samples} for _, samples in columns]
    rows = [(prompt, [_cell(found.get(prompt)) for found in by_prompt]) for prompt in by_prompt[-1]]
    return _table(titles, rows)


def _column_title(stage: str, at: int, count: int) -> str:
    when = "" if count == 1 else ("Before: " if at == 0 else "After: ")
    name = {record.name: record.short_title for record in STAGES}.get(stage, stage.capitalize())
    return f"{when}{name}" if when else name


def _cell(sample: Sample | None) -> Cell:
    if sample is None:
        return "", None, ()
    length = f"{sample.length} tokens" + ("" if sample.finished else ", cut off")
    # Of a single source the score is its own, by its weight.
    parts = sample.parts.items() if len(sample.parts) > 1 else ()
    said = [f"{name} {short(part)}" for name, part in parts]
    return sample.response, sample.score, [*said, length]


def _pairs(run: RunFiles, *, is_folded: bool) -> Markup | None:
    pairs = objects(run.evaluation, "pairs")
    if not pairs:
        return None
    candidate, baseline = policy_names(run)
    rows = [
        (
            prompt_text(pair.get("prompt", "")),
            [_judged(pair, "baseline"), _judged(pair, "candidate")],
        )
        for pair in pairs[:MOST_PAIRS]
    ]
    table = _table([baseline, candidate], rows)
    if not is_folded:
        return table
    title = f"Answers the judge compared ({len(rows)} of {len(pairs)} pairs)"
    return el("details", el("summary", title), table)


def _judged(pair: files.Row, side: str) -> Cell:
    return words(pair, side), number(pair, f"{side}_score"), ()


def _table(titles: list[str], rows: list[tuple[str, list[Cell]]]) -> Markup:
    heads = [el("th", title, scope="col", role="columnheader") for title in ("Prompt", *titles)]
    body = [_row(titles, prompt, cells) for prompt, cells in rows]
    return el(
        "table",
        el("thead", el("tr", *heads, role="row")),
        el("tbody", *body),
        class_="answers",
        role="table",
    )


def _row(titles: list[str], prompt: str, cells: list[Cell]) -> Markup:
    """Return one prompt with its answers; the last answer also shows its gain over the first."""
    gain = None
    if len(cells) > 1 and cells[0][1] is not None and cells[-1][1] is not None:
        gain = cells[-1][1] - cells[0][1]
    shown = [
        el(
            "td",
            _answer(cell, gain if at == len(cells) - 1 else None),
            data_label=title,
            role="cell",
        )
        for at, (title, cell) in enumerate(zip(titles, cells, strict=True))
    ]
    head = el("th", el("div", prompt, class_="text"), scope="row", role="rowheader")
    return el("tr", head, *shown, role="row")


def _answer(cell: Cell, gain: float | None) -> Markup:
    text, score, remarks = cell
    marks: list[Markup] = []
    if score is not None:
        marks.append(el("b", f"score {short(score)}"))
    if gain is not None:
        gain = 0.0 if abs(gain) < SAME else gain
        marks.append(el("span", signed(gain, 2), class_="up" if gain >= 0 else "down"))
    marks += [el("span", remark) for remark in remarks]
    body = (
        el("div", text.strip(), class_="text") if text else el("div", "(no answer)", class_="soft")
    )
    return join([body, el("div", *marks, class_="marks") if marks else None])
