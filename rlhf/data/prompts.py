"""Prompts: rows become what the policy answers, with their other columns for the reward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.canonical import key_of
from rlhf.data.columns import Columns, text_of
from rlhf.data.encode import encode_prompts, pad_rows, rendered, short_enough
from rlhf.data.examples import Asked, Example, Form, read_examples
from rlhf.data.rows import Row
from rlhf.data.split import Splits, divide
from rlhf.flow.text import PromptBatch

LEGAL: tuple[Columns, ...] = (("prompt",),)


def load_prompts(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Splits[PromptBatch]:
    """Read, check, tokenize and split the rows of data.prompts.

    Args:
        config: sources, fractions and data.max_prompt_length.
        tokenizer: the policy's.

    Raises:
        ConfigError: when there is no source.
        DataError: listing `file:line` of every row that is wrong or too long.
    """
    form = Form("prompts", LEGAL, parse_prompt, bool(tokenizer.chat_template))
    found = read_examples(config, form)
    drop = config.invalid == "drop"
    examples, ids = rendered(found, encode_prompts(tokenizer, found, drop=drop))
    limit = ("max_prompt_length", config.max_prompt_length)
    kept = short_enough(examples, [len(prompt) for prompt in ids], limit, config)
    sides = divide([examples[index].member() for index in kept], config)
    batches = {
        name: _batch([ids[kept[i]] for i in rows], [examples[kept[i]] for i in rows])
        for name, rows in sides.items()
    }
    return Splits(**batches, dropped=len(examples) - len(kept))


def parse_prompt(row: Row, columns: Columns) -> Asked:
    """Understand one row.

    Raises:
        DataError: when the prompt is empty or neither text nor messages.
    """
    prompt = text_of(row.values, columns[0])
    return Asked(prompt, (), key_of(prompt))


def _batch(rows: Sequence[list[int]], examples: Sequence[Example]) -> PromptBatch:
    written = [example.row.values for example in examples]
    return PromptBatch(
        tokens_BP=pad_rows(rows),
        lengths_B=torch.tensor([len(row) for row in rows], dtype=torch.long),
        sample_B=torch.arange(len(rows)),
        prompts=tuple(values["prompt"] for values in written),
        columns=tuple({k: v for k, v in values.items() if k != "prompt"} for values in written),
    )
