"""Examples: the rows of a mixture, read and understood, before any of them is tokenized."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rlhf.config.data import DataConfig, SourceConfig
from rlhf.data.columns import Columns, fitting, misfit, missed, options_of, present
from rlhf.data.layouts.layout import Kind
from rlhf.data.layouts.recognise import as_trl
from rlhf.data.mapping import renamed
from rlhf.data.problems import Problems
from rlhf.data.rows import Row, read_rows
from rlhf.data.split import Member
from rlhf.data.template import Options, Text
from rlhf.errors import ConfigError, DataError

_log = logging.getLogger(__name__)
_READ_BESIDE = {"tools", "chat_template_kwargs", "margin", "label"}
"""Columns that are read whatever the others are."""


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
    content: str = ""
    """The whole row as one text."""

    def member(self) -> Member:
        """Return what divide() needs to know of the row."""
        return Member(key=self.asked.key, content=self.content, weight=self.weight)


Parse = Callable[[Row, Columns], Asked]


@dataclass(frozen=True, slots=True)
class Form:
    """What the rows of one kind look like."""

    kind: Kind
    """Which sources of the configuration they come from."""
    legal: Sequence[Columns]
    """The sets of columns a row may have; the first that fits is taken."""
    parse: Parse
    """Understands a row with such columns; raises DataError with the reason when it cannot."""
    chats: bool = True
    """Whether the tokenizer has a chat template."""


def read_examples(config: DataConfig, form: Form) -> list[Example]:
    """Read every source of a kind.

    Raises:
        ConfigError: when the kind has no source.
        DataError: listing what is wrong in all sources.
    """
    sources = config.sources(form.kind)
    if not sources:
        raise ConfigError(f"data.{form.kind} is not set; give a file or a data set")
    faults: list[str] = []
    examples: list[Example] = []
    for source in sources:
        problems = Problems(source.path, drop=config.invalid == "drop")
        columns = config.columns if source.columns is None else source.columns
        try:
            found = _understand(_rows(source, columns, form, problems), form, problems)
            examples += [replace(example, weight=source.weight) for example in found]
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return examples


def _rows(
    source: SourceConfig, columns: Mapping[str, str | None], form: Form, problems: Problems
) -> list[Row]:
    rows = read_rows(source, problems)
    if any(columns.values()):
        return renamed(rows, columns, source.path)
    rows = renamed(rows, columns, source.path)
    return as_trl(rows, form.kind, form.legal, problems, chats=form.chats)


def _understand(rows: Sequence[Row], form: Form, problems: Problems) -> list[Example]:
    alike = _Alike()
    unread: set[str] = set()
    examples: list[Example] = []
    for row in rows:
        try:
            columns = alike.columns(row, form)
            if columns is None:
                continue
            content = _content(row)
            asked, options = form.parse(row, columns), options_of(row.values)
            if form.kind != "prompts":  # a prompt may be asked several times
                alike.refuse_copy(content, row.where)
        except DataError as error:
            problems.add(row.where, error)
            continue
        examples.append(Example(row, asked, options, 1.0, content))
        if not row.layout:
            unread |= row.values.keys() - columns
    alike.report(problems)
    problems.check(len(examples))
    unread -= _READ_BESIDE
    if unread and form.kind != "prompts":
        _log.warning("%s: columns that are not read: %s", problems.subject, _listed(unread))
    return examples


def _content(row: Row) -> str:
    return json.dumps(row.values, sort_keys=True, default=str)


def _listed(names: Iterable[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return ", ".join(name[:40] for name in known[:12]) + more


@dataclass
class _Alike:
    """What rows of one source have in common: wrong columns, or all of it."""

    first: dict[str, str] = field(default_factory=dict[str, str])
    """Where a content was seen first."""
    misfits: dict[frozenset[str], list[str]] = field(
        default_factory=dict[frozenset[str], list[str]]
    )
    """Where rows are whose columns are no format, by those columns."""
    legal: Sequence[Columns] = ()

    def columns(self, row: Row, form: Form) -> Columns | None:
        """Return the columns that a row is read by; None, and kept in mind, where none fit.

        Raises:
            DataError: when a column that belongs to the prompt or the answer would be left out.
        """
        columns, self.legal = fitting(row.values, form.legal), form.legal
        if columns is None:
            self.misfits.setdefault(present(row.values), []).append(row.where)
        elif form.kind != "prompts" and not row.layout and len(columns) < len(row.values):
            left_out = missed(row.values, columns)
            if left_out:
                raise DataError(left_out)
        return columns

    def refuse_copy(self, content: str, where: str) -> None:
        """Refuse a row that was there before.

        Raises:
            DataError: naming the first one.
        """
        first = self.first.setdefault(content, where)
        if first != where:
            raise DataError(f"is a copy of {first}; a row counts more often by its source's weight")

    def report(self, problems: Problems) -> None:
        """Note rows with wrong columns, once for all that have the same; all are counted."""
        for found, places in self.misfits.items():
            more = f" (and {len(places) - 1} more rows like it)" if len(places) > 1 else ""
            problems.add(places[0], misfit(found, self.legal) + more, len(places))
