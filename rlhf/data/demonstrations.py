"""Demonstrations: text, messages, or prompt + completion rows become what SFT imitates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.canonical import key_of
from rlhf.data.columns import Columns, same_kind, spoken, text_of
from rlhf.data.encode import encode_answers, pad_rows, short_enough
from rlhf.data.examples import Asked, Form, read_examples
from rlhf.data.plain import Learned
from rlhf.data.rows import Row
from rlhf.data.split import Splits, divide
from rlhf.errors import DataError
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
    examples = read_examples(
        config, Form("demonstrations", LEGAL, parse_demonstration, bool(tokenizer.chat_template))
    )
    learned = [answers[0] for answers in encode_answers(tokenizer, examples)]
    lengths = [len(ids) for ids, _ in learned]
    kept = short_enough(examples, lengths, ("max_length", config.max_length), config)
    sides = divide([examples[index].member() for index in kept], config)
    batches = {name: _batch([learned[kept[i]] for i in rows]) for name, rows in sides.items()}
    return Splits(**batches, dropped=len(examples) - len(kept))


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


def _batch(rows: Sequence[Learned]) -> Demonstrations:
    return Demonstrations(
        tokens_BT=pad_rows([ids for ids, _ in rows]),
        lengths_B=torch.tensor([len(ids) for ids, _ in rows], dtype=torch.long),
        loss_mask_BT=pad_rows([mask for _, mask in rows], torch.bool),
    )
