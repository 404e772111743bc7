"""Examples: the rows of a mixture, read and understood, before any of them is tokenized."""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from rlhf.config.data import DataConfig, SourceConfig
from rlhf.data.columns import Columns, blank, fitting, misfit, missed, options_of, present
from rlhf.data.layouts.layout import Kind
from rlhf.data.layouts.recognise import as_trl
from rlhf.data.mapping import renamed
from rlhf.data.problems import Problems
from rlhf.data.prompt_template import with_prompts
from rlhf.data.rows import Row, read_rows
from rlhf.data.split import Member
from rlhf.data.template import Options, Text
from rlhf.errors import ConfigError, DataError

_log = logging.getLogger(__name__)
LONGEST = 2**20
"""Characters of a value; a tokenizer takes minutes for a longer one that is not parted."""
_READ_BESIDE = {"tools", "chat_template_kwargs", "margin", "label"}
"""Columns that are read whatever the others are."""
_ENCODER = json.JSONEncoder(sort_keys=True, default=str)


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
    bare: Text | None = None
    """Its prompt without the examples that data.few_shot put before it, where there are some."""

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
    with _no_collection():
        for source in sources:
            problems = Problems(source.path, drop=config.invalid == "drop")
            try:
                rows = as_asked(read_rows(source, problems), source, config, form, problems)
                examples += _understand(rows, form, problems, source.weight)
            except DataError as error:
                faults.append(str(error))
    if faults:
        raise DataError("\n".join(faults))
    return examples


@contextmanager
def _no_collection() -> Iterator[None]:
    """Look for no garbage while this is open: with millions of live rows that takes long."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def as_asked(
    found: Sequence[Row],
    source: SourceConfig,
    config: DataConfig,
    form: Form,
    problems: Problems,
) -> list[Row]:
    """Return a source's rows with TRL's columns, by data.columns, prompt_template or their layout.

    Raises:
        DataError: when no row has a column that these name.
    """
    columns = config.columns if source.columns is None else source.columns
    rows = renamed(found, columns, source.path, form.legal)
    template = source.prompt_template or config.prompt_template
    if template is not None:
        return with_prompts(rows, template, columns, problems, keeps=form.kind == "prompts")
    if any(columns.values()):
        return rows
    return as_trl(rows, form.kind, form.legal, problems, chats=form.chats)


def _understand(
    rows: Sequence[Row], form: Form, problems: Problems, weight: float
) -> list[Example]:
    alike = _Alike()
    unread: set[str] = set()
    examples: list[Example] = []
    for row in rows:
        try:
            columns = alike.columns(row, form)
            if columns is None:
                continue
            if not row.document:
                _check_lengths(row, columns)
            content = _content(row)
            asked, options = form.parse(row, columns), options_of(row.values)
            is_copy = form.kind != "prompts" and alike.is_copy(content, row.where)
            if is_copy and problems.drop:
                problems.add(row.where, "is a copy of another row")
                continue
        except DataError as error:
            problems.add(row.where, error)
            continue
        examples.append(Example(row, asked, options, weight, content))
        if not row.layout:
            unread |= row.values.keys() - columns
    alike.report(problems)
    unread -= _READ_BESIDE
    if unread and form.kind != "prompts":
        _log.warning("%s: columns that are not read: %s", problems.subject, _listed(unread))
    problems.check(len(examples))
    return examples


def _check_lengths(row: Row, columns: Columns) -> None:
    """Refuse a value that is too long for a tokenizer, of the columns that it is given.

    Raises:
        DataError: with the value's length.
    """
    for name in (*columns, "tools", "chat_template_kwargs"):
        letters = _letters(row.values.get(name))
        if letters > LONGEST:
            raise DataError(
                f"{name} has {letters:,} characters; a value of a row has at most {LONGEST:,} "
                "(2**20); shorten it, or give a long text as a document of its own, a .txt file, "
                "which is cut into windows"
            )


def _letters(value: object) -> int:
    """Return the characters of all texts in a value."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_letters, cast("dict[str, object]", value).values()))
    return sum(map(_letters, cast("list[object]", value))) if isinstance(value, list) else 0


def _content(row: Row) -> str:
    return _ENCODER.encode(row.values)


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
    copies: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Where copies are, and what they are copies of."""
    legal: Sequence[Columns] = ()

    def columns(self, row: Row, form: Form) -> Columns | None:
        """Return the columns that a row is read by; None, and kept in mind, where none fit.

        Raises:
            DataError: when a column has no value, or when one that belongs to the prompt or the
                answer would be left out.
        """
        columns, self.legal = fitting(row.values, form.legal), form.legal
        if columns is None:
            if empty := blank(row.values, form.legal):
                raise DataError(empty)
            self.misfits.setdefault(present(row.values), []).append(row.where)
        elif form.kind != "prompts" and not row.layout and len(columns) < len(row.values):
            left_out = missed(row.values, columns)
            if left_out:
                raise DataError(left_out)
        return columns

    def is_copy(self, content: str, where: str) -> bool:
        """Return whether a row was there before, and keep it in mind."""
        first = self.first.setdefault(content, where)
        if first != where:
            self.copies.append((where, first))
        return first != where

    def report(self, problems: Problems) -> None:
        """Note rows with wrong columns, once for all that have the same; all are counted."""
        for found, places in self.misfits.items():
            problems.add(places[0], misfit(found, self.legal), len(places))
        if self.copies and not problems.drop:
            _log.warning(
                "%s: %s rows are copies of others, the first: %s of %s; they count as often as "
                "they stand there (data.invalid=drop leaves them out)",
                problems.subject,
                f"{len(self.copies):,}",
                *self.copies[0],
            )
