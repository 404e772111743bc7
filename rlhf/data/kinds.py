"""Kinds: the four kinds of data by name, each with what makes rows ready for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from transformers import PreTrainedTokenizerBase

from rlhf.catalog.stages import Kind
from rlhf.config.data import DataConfig, SourceConfig
from rlhf.data import demonstrations, preferences, prompts
from rlhf.data.columns import fitting, present, remedy
from rlhf.data.document_folder import DOCUMENTS, documents_in, suffix_of
from rlhf.data.examples import Form, as_asked, read_examples
from rlhf.data.prepared import Prepared, whole
from rlhf.data.problems import Problems, heard
from rlhf.data.rows import Row, read_rows
from rlhf.errors import DataError

KINDS: tuple[Kind, ...] = get_args(Kind)
LOOKED_AT = 200
"""Rows by which the kind of a file is told."""


def given(config: DataConfig) -> list[Kind]:
    """Return the kinds that have a source."""
    return [kind for kind in KINDS if getattr(config, kind) is not None]


def prepare_kind(kind: Kind, config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Return the rows of a kind as training has them.

    Raises:
        ConfigError: when the kind has no source.
        DataError: listing `file:line` of every row that is wrong or too long.
    """
    if kind == "preferences":
        return preferences.prepare_rankings(config, tokenizer)
    if kind == "prompts":
        return prompts.prepare_prompts(config, tokenizer)
    return demonstrations.prepare_demonstrations(as_texts(kind, config), tokenizer)


def as_texts(kind: Kind, config: DataConfig) -> DataConfig:
    """Return a configuration whose demonstrations are a kind's rows; pretraining has no sides."""
    if kind != "pretraining":
        return config
    plain = config.model_copy(update={"prompt_template": None, "few_shot": 0})
    return whole(plain, demonstrations=config.pretraining)


def check_rows(kind: Kind, config: DataConfig) -> None:
    """Read every row of a kind, as far as that goes without a tokenizer.

    Raises:
        DataError: listing `file:line` of every row that is wrong.
    """
    for own, form in _readings(kind, config):
        read_examples(own, form)


def _readings(kind: Kind, config: DataConfig) -> Iterator[tuple[DataConfig, Form]]:
    """Yield the configurations and forms by which the sources of a kind are read."""
    if kind == "preferences":
        yield config, preferences.form(chats=True)
        if config.test_preferences is not None:
            yield whole(config, preferences=config.test_preferences), preferences.form(chats=True)
    elif kind == "prompts":
        yield config, prompts.form(chats=True)
        if config.test_prompts is not None:
            yield whole(config, prompts=config.test_prompts), prompts.form(chats=True)
    else:
        yield as_texts(kind, config), demonstrations.form(chats=True)


def kind_of(path: str, config: DataConfig) -> Kind | None:
    """Return the kind of data that a file's columns are of; None where they say nothing clear.

    Ranked answers are preferences, answers alone demonstrations, and what only asks are prompts.

    Args:
        path: of a file or a folder.
        config: its columns and prompt_template are applied.

    Raises:
        DataError: when it cannot be read, or lacks a column that the configuration names.
    """
    place = Path(path)
    if suffix_of(place) in DOCUMENTS and place.is_file():
        return "demonstrations"
    source = SourceConfig(path=path)
    with heard():  # whoever reads the rows to show them tells the same
        if place.is_dir() and documents_in(place):
            return "demonstrations"
        rows = read_rows(source)[:LOOKED_AT]
        for form in _forms():
            share = _share_of(rows, source, config, form)
            if share:
                return form.kind if share == 1 else None
        for form in _forms():
            if config.columns or config.prompt_template:
                as_asked(rows, source, config, form, Problems(path))
    return None


def columns_for(path: str) -> str:
    """Return the data.columns, as typed, by which a file would be of a kind; nothing for none.

    Raises:
        DataError: when it cannot be read.
    """
    with heard():
        rows = read_rows(SourceConfig(path=path))[:LOOKED_AT]
    found = frozenset[str]().union(*(present(row.values) for row in rows))
    return next((typed for form in _forms() if (typed := remedy(found, form.legal))), "")


def _forms() -> list[Form]:
    """Return the forms by which a kind is told, the one that asks for most first."""
    return [module.form(chats=True) for module in (preferences, demonstrations, prompts)]


def _share_of(rows: Sequence[Row], source: SourceConfig, config: DataConfig, form: Form) -> float:
    """Return the share of rows that can be read as a kind."""
    problems = Problems("")
    try:
        read = as_asked(rows, source, config, form, problems)
    except DataError:
        return 0.0
    fits = sum(fitting(row.values, form.legal) is not None for row in read)
    return fits / (len(read) + len(problems)) if read else 0.0
