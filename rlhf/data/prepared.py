"""Prepared: the rows of one kind as training has them, before they become batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlhf.config.data import DataConfig, Sources
from rlhf.data.encode import short_enough
from rlhf.data.examples import Example
from rlhf.data.plain import Learned
from rlhf.data.split import B, Member, Side, Splits, divide


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as training has it."""

    example: Example
    member: Member
    """What its side hangs on."""
    answers: Sequence[Learned]
    """A demonstration: one. A ranking: each answer behind the prompt, best first. A prompt: its
    ids, nothing of which is learned."""

    @property
    def ids(self) -> list[int]:
        """The ids of its first answer, behind the prompt."""
        return self.answers[0][0]

    @property
    def length(self) -> int:
        """Tokens of its longest answer, with the prompt."""
        return max(len(ids) for ids, _ in self.answers)


@dataclass(frozen=True, slots=True)
class Prepared:
    """All rows of one kind, and the side each is on."""

    entries: Sequence[Entry]
    sides: dict[Side, list[int]]
    """Rows by index; train repeats and thins them by the weights of their sources."""
    overlong: Sequence[tuple[str, int]]
    """Where rows are that were left out for their length (data.overlong=drop), and their tokens."""

    def splits(self, batch: Callable[[list[Entry]], B]) -> Splits[B]:
        """Return the sides as batches."""
        made = {
            name: batch([self.entries[index] for index in rows])
            for name, rows in self.sides.items()
        }
        return Splits(**made, dropped=len(self.overlong))

    def with_test(self, other: Prepared) -> Prepared:
        """Return these rows with all that another source would train on as the test side."""
        first = len(self.entries)
        test = [first + index for index in other.sides["train"]]
        return Prepared(
            entries=[*self.entries, *other.entries],
            sides={**self.sides, "test": test},
            overlong=[*self.overlong, *other.overlong],
        )


def prepare(
    examples: Sequence[Example],
    encoded: Sequence[Sequence[Learned]],
    limit: tuple[str, int],
    config: DataConfig,
) -> Prepared:
    """Return encoded rows within a limit, on their sides.

    Args:
        examples: the rows.
        encoded: each row's answers.
        limit: name of the setting and its value, in tokens.
        config: fractions, and what happens to longer rows.

    Raises:
        DataError: where longer rows are an error, listing them; or when none is left.
    """
    entries = [Entry(e, e.member(), found) for e, found in zip(examples, encoded, strict=True)]
    lengths = [entry.length for entry in entries]
    kept = set(short_enough(examples, lengths, limit, config))
    overlong = [
        (entry.example.row.where, entry.length)
        for index, entry in enumerate(entries)
        if index not in kept
    ]
    return divided([entries[index] for index in sorted(kept)], overlong, config)


def divided(
    entries: Sequence[Entry], overlong: Sequence[tuple[str, int]], config: DataConfig
) -> Prepared:
    """Return rows on their sides."""
    return Prepared(entries, divide([entry.member for entry in entries], config), overlong)


def behind(prepared: Prepared, entries: Sequence[Entry], config: DataConfig) -> Prepared:
    """Return prepared rows and more behind them, divided anew."""
    if not entries:
        return prepared
    return replace(divided([*prepared.entries, *entries], (), config), overlong=prepared.overlong)


def with_own_test(
    kind: Literal["preferences", "prompts"],
    config: DataConfig,
    prepared: Callable[[DataConfig], Prepared],
) -> Prepared:
    """Return the rows of data.KIND; those of data.test_KIND, where given, are the test side."""
    own = config.test_preferences if kind == "preferences" else config.test_prompts
    rows = prepared(config)
    return rows if own is None else rows.with_test(prepared(whole(config, **{kind: own})))


def whole(config: DataConfig, **source: Sources | None) -> DataConfig:
    """Return the configuration with another source, and without a split of its own."""
    unsplit = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return config.model_copy(update={**unsplit, **source})
