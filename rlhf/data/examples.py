"""Examples: the rows of a mixture, read and understood, before any of them is tokenized."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.config.data import DataConfig
from rlhf.data.columns import Columns, fitting, misfit, options_of, present
from rlhf.data.problems import Problems
from rlhf.data.rows import Row, read_rows
from rlhf.data.split import Member
from rlhf.data.template import Message, Options, Text
from rlhf.errors import ConfigError, DataError

Kind = Literal["demonstrations", "preferences", "prompts"]


@dataclass(frozen=True, slots=True)
class Asked:
    """The content of a row's own columns."""

    prompt: Text | None
    """None where the answers are whole texts or whole conversations."""
    answers: tuple[Text, ...]
    """The answers, best first; none in a prompt row."""
    key: str
    """What the row's side hangs on."""


@dataclass(frozen=True, slots=True)
class Example:
    """One understood row."""

    row: Row
    asked: Asked
    options: Options
    """For the chat template."""
    weight: float
    """Weight of the row's source in the mixture."""

    def member(self) -> Member:
        """Return what divide() needs to know of the row."""
        content = json.dumps(self.row.values, sort_keys=True, default=str)
        return Member(key=self.asked.key, content=content, weight=self.weight)


Parse = Callable[[Row, Columns], Asked]


def read_examples(
    config: DataConfig, kind: Kind, legal: Sequence[Columns], parse: Parse
) -> list[Example]:
    """Read every source of a kind.

    Args:
        config: names the sources.
        kind: which of them.
        legal: the sets of columns a row may have; the first that fits is taken.
        parse: understands a row with such columns; raises DataError with the reason when it cannot.

    Raises:
        ConfigError: when the kind has no source.
        DataError: listing what is wrong in all sources.
    """
    sources = config.sources(kind)
    if not sources:
        raise ConfigError(f"data.{kind} is not set; give a file or a data set")
    faults: list[str] = []
    examples: list[Example] = []
    for source in sources:
        try:
            examples += _understand(read_rows(source), (source.path, source.weight), legal, parse)
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return examples


def _understand(
    rows: list[Row], origin: tuple[str, float], legal: Sequence[Columns], parse: Parse
) -> list[Example]:
    path, weight = origin
    problems = Problems(path)
    misfits: dict[frozenset[str], list[str]] = {}
    examples: list[Example] = []
    for row in rows:
        columns = fitting(row.values, legal)
        if columns is None:
            misfits.setdefault(present(row.values), []).append(row.where)
            continue
        try:
            examples.append(Example(row, parse(row, columns), options_of(row.values), weight))
        except DataError as error:
            problems.add(row.where, error)
    for found, places in misfits.items():
        more = f" (and {len(places) - 1} more rows like it)" if len(places) > 1 else ""
        problems.add(places[0], misfit(found, legal) + more)
    problems.check()
    return examples
