"""Kinds: the four kinds of data by name, each with what makes rows ready for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from transformers import PreTrainedTokenizerBase

from rlhf.catalog.stages import Kind
from rlhf.config.data import DataConfig
from rlhf.data import demonstrations, preferences, prompts
from rlhf.data.examples import Form, read_examples
from rlhf.data.prepared import Prepared, whole

KINDS: tuple[Kind, ...] = get_args(Kind)


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
