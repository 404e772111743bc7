"""Preferences: chosen and rejected, or K ranked answers, become what a reward model compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import cast

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.config.data import DataConfig
from rlhf.data.canonical import key_of
from rlhf.data.columns import Columns, as_text, same_kind, spoken, text_of
from rlhf.data.demonstrations import shots_of
from rlhf.data.encode import encode_answers, pad_rows, rendered
from rlhf.data.examples import Asked, Form, read_examples
from rlhf.data.few_shot import Shots
from rlhf.data.plain import common_length
from rlhf.data.prepared import Entry, Prepared, prepare, with_own_test
from rlhf.data.rows import Row
from rlhf.data.split import Splits
from rlhf.data.template import Message, Text
from rlhf.errors import DataError
from rlhf.flow.text import Rankings

LARGEST_MARGIN = 1e18
"""32-bit floats hold its square."""
LEGAL: tuple[Columns, ...] = (
    ("prompt", "answers"),
    ("prompt", "chosen", "rejected"),
    ("chosen", "rejected"),
)


def load_rankings(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Splits[Rankings]:
    """Read, check, tokenize and split the rows of data.preferences.

    Args:
        config: sources, fractions and data.max_length (of prompt + answer); with
            data.test_preferences its rows are the test side.
        tokenizer: the reward model's.

    Raises:
        ConfigError: when there is no source.
        DataError: listing `file:line` of every row that is wrong or too long.
    """
    return prepare_rankings(config, tokenizer).splits(_batch)


def prepare_rankings(config: DataConfig, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Return the rows of load_rankings before they are batches."""
    shots = shots_of(config, tokenizer)
    return with_own_test("preferences", config, lambda of: _prepared(of, tokenizer, shots))


def _prepared(
    config: DataConfig, tokenizer: PreTrainedTokenizerBase, shots: Shots | None
) -> Prepared:
    found = read_examples(config, form(chats=bool(tokenizer.chat_template)))
    found = found if shots is None else shots.before(found)
    drop = config.invalid == "drop"
    examples, encoded = rendered(found, encode_answers(tokenizer, found, drop=drop))
    return prepare(examples, encoded, ("max_length", config.max_length), config)


def form(*, chats: bool) -> Form:
    """Return what the rows look like; `chats`: whether there is a chat template."""
    return Form("preferences", LEGAL, parse_ranking, chats)


def parse_ranking(row: Row, columns: Columns) -> Asked:
    """Understand one row.

    Raises:
        DataError: when a value is empty or of the wrong kind, or two answers are equal.
    """
    margin_of(row.values)
    if columns == ("chosen", "rejected"):
        return _implicit(text_of(row.values, "chosen"), text_of(row.values, "rejected"))
    prompt = text_of(row.values, "prompt")
    named = _answers(row.values) if "answers" in columns else _pair(row.values)
    if isinstance(prompt, str) and "answers" not in columns and _are_messages(named):
        # Whole conversations beside a copy of their first message: the copy is left out, as in TRL.
        return _implicit(named["chosen"], named["rejected"])
    same_kind({"prompt": prompt, **named})
    answers = tuple(spoken(answer, name) for name, answer in named.items())
    _check_distinct(named)
    return Asked(prompt, answers, key_of(prompt))


def margin_of(values: Mapping[str, object]) -> float:
    """Return how much better the first answer is, 0 where the row has no margin.

    Raises:
        DataError: when the margin is not a finite number, or does not fit.
    """
    margin = values.get("margin")
    if margin is None:
        return 0.0
    if (
        isinstance(margin, bool)
        or not isinstance(margin, int | float)
        or not abs(margin) <= LARGEST_MARGIN
    ):
        shown = repr(margin)[:80]
        raise DataError(f"margin={shown}; it must be a finite number of at most {LARGEST_MARGIN:g}")
    return float(margin)


def _are_messages(named: Mapping[str, Text]) -> bool:
    return all(isinstance(text, list) for text in named.values())


def _pair(values: Mapping[str, object]) -> dict[str, Text]:
    return {name: text_of(values, name) for name in ("chosen", "rejected")}


def _answers(values: Mapping[str, object]) -> dict[str, Text]:
    answers = values["answers"]
    if not isinstance(answers, list) or len(cast("list[object]", answers)) < 2:
        raise DataError("answers must be a list of at least 2 answers, best first")
    entries = cast("list[object]", answers)
    return {f"answers[{k}]": as_text(entry, f"answers[{k}]") for k, entry in enumerate(entries)}


def _check_distinct(named: Mapping[str, Text]) -> None:
    for (name, answer), (other, same) in combinations(named.items(), 2):
        if answer == same:
            raise DataError(f"{name} equals {other}; equal answers cannot be ranked")


def _implicit(chosen: Text, rejected: Text) -> Asked:
    """Understand two whole texts or conversations by the prompt they share."""
    same_kind({"chosen": chosen, "rejected": rejected})
    _check_distinct({"chosen": chosen, "rejected": rejected})
    if isinstance(chosen, str) or isinstance(rejected, str):
        texts = (str(chosen), str(rejected))
        return Asked(None, (chosen, rejected), key_of(_shared_lines(*texts)))
    prompt = _shared_messages(chosen, rejected)
    answers = (chosen[len(prompt) :], rejected[len(prompt) :])
    for name, answer in zip(("chosen", "rejected"), answers, strict=True):
        if not answer:
            raise DataError(f"{name} is the beginning of the other; its answer is empty")
        spoken(answer, name)
    if not prompt:
        raise DataError("chosen and rejected share no first message, so there is no prompt")
    return Asked(prompt, answers, key_of(prompt))


def _shared_messages(chosen: list[Message], rejected: list[Message]) -> list[Message]:
    pairs = zip(chosen, rejected, strict=False)
    shared = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(chosen), len(rejected)))
    return chosen[:shared]


def _shared_lines(chosen: str, rejected: str) -> str:
    """Return the whole lines both texts begin with; without one, the whole words; else chosen.

    Answers often begin alike, so the exact common prefix would differ between two rows of the
    same prompt.
    """
    prefix = chosen[: common_length(chosen, rejected)]
    end = prefix.rfind("\n") + 1 or prefix.rfind(" ") + 1
    return prefix[:end].strip() or chosen


def _batch(entries: Sequence[Entry]) -> Rankings:
    rows = [[ids for ids, _ in entry.answers] for entry in entries]
    most = max(map(len, rows), default=0)
    filled = [[*answers, *[[]] * (most - len(answers))] for answers in rows]
    flat = pad_rows([answer for answers in filled for answer in answers])
    lengths = [[len(answer) for answer in answers] for answers in filled]
    margins = [margin_of(entry.example.row.values) for entry in entries]
    return Rankings(
        tokens_BKT=flat.reshape(len(rows), most, flat.shape[1]),
        lengths_BK=torch.tensor(lengths, dtype=torch.long).reshape(len(rows), most),
        margin_B=torch.tensor(margins, dtype=torch.float32),
    )
