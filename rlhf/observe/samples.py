"""Samples: answers to fixed prompts, kept so that a person can read what training changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from rlhf.observe import files
from rlhf.observe.numbers import finite


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One answer of the policy."""

    prompt: object
    """The prompt as the user wrote it: a string, or a list of {"role", "content"} messages."""
    response: str
    """The policy's response, as text."""
    score: float | None
    """One number from the reward role; None where nothing scored it."""
    finished: bool
    """Whether the response ended with an EOS token."""
    length: int
    """Response tokens, EOS included."""


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
    return {"stage": stage, "step": step, **asdict(sample), "score": finite(sample.score)}


def _sample(row: Mapping[str, object]) -> Sample:
    return Sample(
        prompt=row.get("prompt", ""),
        response=str(row.get("response", "")),
        score=finite(row.get("score")),
        finished=bool(row.get("finished", True)),
        length=int(finite(row.get("length")) or 0),
    )


def _turn(turn: object) -> str:
    if not isinstance(turn, Mapping):
        return str(turn)
    message = cast("Mapping[str, object]", turn)
    return f"{message.get('role', '')}: {message.get('content', '')}"
