"""Samples: answers to fixed prompts, kept so that a person can read what training changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

from rlhf.observe import files
from rlhf.observe.numbers import finite

_SCORE_NAME = re.compile(r"reward/(.+)/score")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer of the policy."""

    prompt: object
    """The prompt as the user wrote it: a string, or a list of {"role", "content"} messages."""
    response: str
    """The policy's response, as text."""
    score: float | None
    """One number from the reward role; None where nothing scored it."""
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """What each source of the reward said, by its name; not weighted."""
    finished: bool
    """Whether the response ended with an EOS token."""
    length: int
    """Response tokens, EOS included."""


def score_name(source: str) -> str:
    """Return the name of a source's score, as a metric and as a column of the samples."""
    return f"reward/{source}/score"


def prompt_text(prompt: object) -> str:
    """Return a prompt as one text: a string as it is, messages as `role: content` lines."""
    if not isinstance(prompt, Sequence) or isinstance(prompt, str | bytes):
        return str(prompt)
    return "\n".join(_turn(turn) for turn in cast("Sequence[object]", prompt))


def write_samples(run_dir: Path, stage: str, step: int, rows: Sequence[Sample]) -> None:
    """Store the samples of one stage and step in RUN/samples.jsonl, in place of earlier ones.

    Raises:
        OSError: when the disk refuses.
    """
    path = run_dir / files.SAMPLES
    files.keep_rows(path, lambda row: (row.get("stage"), row.get("step")) != (stage, step))
    files.append_rows(path, [_row(stage, step, sample) for sample in rows])


def read_samples(run_dir: Path) -> dict[tuple[str, int], list[Sample]]:
    """Return all samples of a run by (stage, step), in the order they were written."""
    found: dict[tuple[str, int], list[Sample]] = {}
    for row in files.read_rows(run_dir / files.SAMPLES):
        key = (str(row.get("stage")), int(finite(row.get("step")) or 0))
        found.setdefault(key, []).append(_sample(row))
    return found


def _row(stage: str, step: int, sample: Sample) -> dict[str, object]:
    columns = asdict(sample)
    parts: dict[str, float] = columns.pop("parts")
    said = {score_name(name): finite(score) for name, score in parts.items()}
    return {"stage": stage, "step": step, **columns, "score": finite(sample.score), **said}


def _sample(row: Mapping[str, object]) -> Sample:
    return Sample(
        prompt=row.get("prompt", ""),
        response=str(row.get("response", "")),
        score=finite(row.get("score")),
        parts=dict(_parts(row)),
        finished=bool(row.get("finished", True)),
        length=int(finite(row.get("length")) or 0),
    )


def _parts(row: Mapping[str, object]) -> Iterator[tuple[str, float]]:
    for column, value in row.items():
        name, score = _SCORE_NAME.fullmatch(column), finite(value)
        if name is not None and score is not None:
            yield name[1], score


def _turn(turn: object) -> str:
    if not isinstance(turn, Mapping):
        return str(turn)
    message = cast("Mapping[str, object]", turn)
    return f"{message.get('role', '')}: {message.get('content', '')}"
