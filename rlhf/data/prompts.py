"""Prompts: rows become what the policy answers, with their other columns for the reward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.canonical import key_of
from rlhf.data.columns import Columns, text_of
from rlhf.data.demonstrations import shots_of
from rlhf.data.encode import encode_prompts, pad_rows, rendered
from rlhf.data.examples import Asked, Form, read_examples
from rlhf.data.few_shot import Shots
from rlhf.data.prepared import Entry, Prepared, prepare, with_own_test
from rlhf.data.rows import Row
from rlhf.data.split import Splits
from rlhf.flow.text import PromptBatch

LEGAL: tuple[Columns, ...] = (("prompt",),)


def load_prompts(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Splits[PromptBatch]:
    """Read, check, tokenize and split the rows of data.prompts.

    Args:
        config: sources, fractions and data.max_prompt_length; with data.test_prompts its rows are
            the test side.
        tokenizer: the policy's.

    Raises:
        ConfigError: when there is no source.
        DataError: listing `file:line` of every row that is wrong or too long.
    """
    return as_batches(prepare_prompts(config, tokenizer))


def as_batches(prepared: Prepared) -> Splits[PromptBatch]:
    """Return prepared prompts as batches."""
    return prepared.splits(_batch)


def columns_of(prepared: Prepared) -> dict[str, str]:
    """Return the columns that prompts have beside the prompt, each with which rows are without it.

    Empty text: none is. A row that has null for a column has it.
    """
    rows = [entry.example.row for entry in prepared.entries]
    names = sorted({name for row in rows for name in row.values if name != "prompt"})
    found: dict[str, str] = {}
    for name in names:
        without = [row.where for row in rows if name not in row.values]
        first = f"{len(without):,} of {len(rows):,} rows, the first {without[0]}" if without else ""
        found[name] = first
    return found


def prepare_prompts(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Return the rows of load_prompts before they are batches."""
    shots = shots_of(config, tokenizer)
    return with_own_test("prompts", config, lambda of: _prepared(of, tokenizer, shots))


def _prepared(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, shots: Shots | None
) -> Prepared:
    found = read_examples(config, form(chats=bool(tokenizer.chat_template)))
    found = found if shots is None else shots.before(found)
    drop = config.invalid == "drop"
    examples, ids = rendered(found, encode_prompts(tokenizer, found, drop=drop))
    limit = ("max_prompt_length", config.max_prompt_length)
    return prepare(examples, [[(row, [False] * len(row))] for row in ids], limit, config)


def form(*, chats: bool) -> Form:
    """Return what the rows look like; `chats`: whether there is a chat template."""
    return Form("prompts", LEGAL, parse_prompt, chats)


def parse_prompt(row: Row, columns: Columns) -> Asked:
    """Understand one row.

    Raises:
        DataError: when the prompt is empty or neither text nor messages.
    """
    prompt = text_of(row.values, columns[0])
    return Asked(prompt, (), key_of(prompt))


def _batch(entries: Sequence[Entry]) -> PromptBatch:
    rows = [entry.ids for entry in entries]
    written = [entry.example.row.values for entry in entries]
    return PromptBatch(
        tokens_BP=pad_rows(rows),
        lengths_B=torch.tensor([len(row) for row in rows], dtype=torch.long),
        sample_B=torch.arange(len(rows)),
        prompts=tuple(values["prompt"] for values in written),
        columns=tuple({k: v for k, v in values.items() if k != "prompt"} for values in written),
    )
