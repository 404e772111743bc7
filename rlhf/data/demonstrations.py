"""Demonstrations: text, messages, or prompt + completion rows become what SFT imitates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.canonical import key_of
from rlhf.data.columns import Columns, same_kind, spoken, text_of
from rlhf.data.documents import cut_documents
from rlhf.data.encode import encode_answers, pad_rows, rendered
from rlhf.data.examples import Asked, Form, read_examples
from rlhf.data.few_shot import Shots
from rlhf.data.prepared import Entry, Prepared, behind, divided, prepare
from rlhf.data.rows import Row
from rlhf.data.split import Splits
from rlhf.errors import ConfigError, DataError
from rlhf.flow.text import Demonstrations

LEGAL: tuple[Columns, ...] = (("prompt", "completion"), ("messages",), ("text",))


def load_demonstrations(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase
) -> Splits[Demonstrations]:
    """Read, check, tokenize and split the rows of data.demonstrations.

    Args:
        config: sources, fractions and data.max_length.
        tokenizer: the policy's.

    Raises:
        ConfigError: when there is no source.
        DataError: listing `file:line` of every row that is wrong or too long.
    """
    return prepare_demonstrations(config, tokenizer).splits(_batch)


def prepare_demonstrations(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Return the rows of load_demonstrations before they are batches."""
    examples = read_examples(config, form(chats=bool(tokenizer.chat_template)))
    documents = [example for example in examples if example.row.document]
    found = [example for example in examples if not example.row.document]
    if config.few_shot and found:
        found = Shots(found, config).before(found)
    encoded = encode_answers(tokenizer, found, drop=config.invalid == "drop")
    rows, answers = rendered(found, encoded)
    limit = ("max_length", config.max_length)
    if not rows and documents:
        return divided(cut_documents(tokenizer, documents, config), (), config)
    prepared = prepare(rows, answers, limit, config)
    return behind(prepared, cut_documents(tokenizer, documents, config), config)


def shots_of(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Shots | None:
    """Return the examples for prompts of other kinds; None without data.few_shot.

    Raises:
        ConfigError: when there are no demonstrations.
        DataError: listing `file:line` of every row that is wrong.
    """
    if not config.few_shot:
        return None
    if config.demonstrations is None:
        raise ConfigError(
            f"data.few_shot={config.few_shot} takes its examples from data.demonstrations, which "
            "is not set"
        )
    return Shots(read_examples(config, form(chats=bool(tokenizer.chat_template))), config)


def form(*, chats: bool) -> Form:
    """Return what the rows look like; `chats`: whether there is a chat template."""
    return Form("demonstrations", LEGAL, parse_demonstration, chats)


def parse_demonstration(row: Row, columns: Columns) -> Asked:
    """Understand one row.

    Raises:
        DataError: when a value is empty or of the wrong kind.
    """
    if columns == ("prompt", "completion"):
        prompt = text_of(row.values, "prompt")
        answer = text_of(row.values, "completion")
        same_kind({"prompt": prompt, "completion": answer})
        return Asked(prompt, (spoken(answer, "completion"),), key_of(prompt))
    column = columns[0]
    whole = text_of(row.values, column)
    if isinstance(whole, str) is (column == "messages"):
        rule = "a list of messages" if column == "messages" else "text"
        raise DataError(f"{column} is of type {type(whole).__name__}; it must be {rule}")
    return Asked(None, (whole,), key_of(whole))


def _batch(entries: Sequence[Entry]) -> Demonstrations:
    rows = [entry.answers[0] for entry in entries]
    return Demonstrations(
        tokens_BT=pad_rows([ids for ids, _ in rows]),
        lengths_B=torch.tensor([len(ids) for ids, _ in rows], dtype=torch.long),
        loss_mask_BT=pad_rows([mask for _, mask in rows], torch.bool),
    )
