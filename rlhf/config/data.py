"""Where the rows come from, how they are split, and what happens to long ones."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from rlhf.config.section import Place, Section

COLUMNS = (
    *("text", "messages", "prompt", "completion", "label"),
    *("chosen", "rejected", "answers", "margin", "tools", "chat_template_kwargs"),
)
"""The columns that are read, by TRL's names."""


def _columns(mapping: dict[str, str | None]) -> dict[str, str | None]:
    unknown = [name for name, own in mapping.items() if own is not None and name not in COLUMNS]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no such column; legal: {', '.join(COLUMNS)}, each with the "
            "file's name for it, and any name with null for a column that is not to be read"
        )
    return mapping


def _template(text: str | None) -> str | None:
    try:
        parts = list(Formatter().parse(text or ""))
    except ValueError as error:
        raise ValueError(
            f"{error}; write {{column}} for a column, and {{{{ or }}}} for a brace"
        ) from error
    names = [name for _, name, _, _ in parts if name is not None]
    wrong = [
        f"{{{n}}}" for _, n, spec, how in parts if n == "" or (n is not None and (spec or how))
    ]
    if wrong or (text is not None and not names):
        found = f"{', '.join(wrong)} names no column" if wrong else "it names no column"
        raise ValueError(f"{found}; write {{column}} for each, such as 'Summarize: {{article}}'")
    return text


PromptTemplate = Annotated[str | None, AfterValidator(_template)]
"""Text with {column} where the value of a column goes."""


ColumnMap = Annotated[dict[str, str | None], AfterValidator(_columns)]


class SourceConfig(Section):
    """One file or data set of a mixture."""

    path: Place
    """A file, a function FILE.py:NAME or packaged:NAME/KIND that gives rows, or a `datasets` name
    (NAME, NAME:SPLIT or NAME:CONFIG:SPLIT)."""
    weight: float = Field(default=1.0, gt=0, le=1000)
    """How often each training row is used an epoch: 0.5 a fixed half, 2 every row twice."""
    columns: ColumnMap | None = None
    """In place of data.columns, for this source."""
    prompt_template: PromptTemplate = None
    """In place of data.prompt_template, for this source."""


Sources = Place | list[Place | SourceConfig]
"""One path, or a mixture of them."""


class DataConfig(Section):
    """The three data sets, with TRL's column names (docs/data_formats.md)."""

    demonstrations: Sources | None = None
    """SFT rows: text, messages, or prompt + completion."""
    preferences: Sources | None = None
    """Reward-model rows: chosen + rejected (with or without prompt), or prompt + ranked answers."""
    prompts: Sources | None = None
    """PPO rows: prompt; every other column goes to the reward function."""
    pretraining: Sources | None = None
    """Texts for ppo.ptx_coef: rows of any SFT format, as a rule text."""
    test_preferences: Place | None = None
    """Rankings for the final figures, in place of the test side of `preferences`."""
    test_prompts: Place | None = None
    """Prompts for samples and evaluation, in place of the test side of `prompts`."""
    validation_fraction: float = Field(default=0.05, ge=0, lt=0.5)
    """Share of rows for validation, by content hash: a row never changes side."""
    test_fraction: float = Field(default=0.05, ge=0, lt=0.5)
    """Share of rows kept for the final figures, by content hash."""
    split_by: Literal["prompt", "row"] = "prompt"
    """What the hash is of. prompt: no prompt or document lies on two sides. row: better where few
    prompts are shared by many rows, or for windows of a single document."""
    max_length: int = Field(default=1024, gt=1, le=2**24)
    """Longest text of SFT and reward model, in tokens."""
    window_overlap: int = Field(default=1, ge=1)
    """Tokens that a window of a document begins with from the end of the one before: read, and not
    learned again."""
    max_prompt_length: int = Field(default=512, gt=0, le=2**24)
    """Longest prompt of PPO, in tokens."""
    overlong: Literal["error", "drop"] = "error"
    """A row longer than its limit stops the run with its file:line, or is dropped and counted."""
    columns: ColumnMap = Field(default={})
    """The file's name of a column: {prompt: question}. null: not read, {source: null}. With it
    rows are read as TRL's, whatever layout they look like."""
    prompt_template: PromptTemplate = None
    """Makes the prompt of a row out of its columns, by the file's names: 'Summarize: {article}'.
    For texts without a prompt of their own; not for pretraining. The letters \\n are a line break,
    and \\\\n the letters."""
    few_shot: int = Field(default=0, ge=0, le=1000)
    """Demonstrations, of those trained on, that stand with their answers before each prompt."""
    invalid: Literal["error", "drop"] = "error"
    """A row that cannot be used (empty or equal answers, no JSON, refused by the chat template)
    stops the run with its file:line, or is dropped and counted; a copy is told, or dropped."""

    def sources(
        self, kind: Literal["demonstrations", "preferences", "prompts", "pretraining"]
    ) -> list[SourceConfig]:
        """Return the mixture of one kind, empty when none was given."""
        given: Sources = getattr(self, kind) or []
        entries = [given] if isinstance(given, str) else given
        return [SourceConfig(path=entry) if isinstance(entry, str) else entry for entry in entries]
