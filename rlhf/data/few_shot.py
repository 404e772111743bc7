"""Few-shot: data.few_shot demonstrations stand with their answers before each prompt.

Which they are hangs on the row's prompt alone, and none is held out or asks the same. The side of a
row is that of its bare prompt.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, islice

from rlhf.config.data import DataConfig
from rlhf.data.examples import Example
from rlhf.data.problems import Problems
from rlhf.data.rows import Row
from rlhf.data.split import divide, position
from rlhf.data.template import Message, Text
from rlhf.errors import ConfigError, DataError

BETWEEN = "\n\n"
"""Between two examples written as text, and before the prompt."""


class Shots:
    """The demonstrations that may stand before a prompt."""

    def __init__(self, shown: Sequence[Example], config: DataConfig) -> None:
        """Keep those that are trained on and have a prompt.

        Args:
            shown: demonstrations, or rankings, of which the best answers are shown.
            config: how many stand before a prompt, and the fractions by which some are held out.
        """
        self._count = config.few_shot
        trained = dict.fromkeys(divide([example.member() for example in shown], config)["train"])
        usable = [shown[index] for index in trained if _is_usable(shown[index])]
        kinds = (str, list)
        self._pools = {
            kind: _placed([e for e in usable if isinstance(e.asked.prompt, kind)]) for kind in kinds
        }

    def before(self, examples: Sequence[Example]) -> list[Example]:
        """Return rows of any kind, each prompt behind its examples.

        Raises:
            ConfigError: when too few are left to show.
            DataError: listing rows without a prompt to stand before.
        """
        problems = Problems(f"the rows (data.few_shot={self._count})")
        found: list[Example] = []
        for example in examples:
            prompt = example.asked.prompt
            if prompt is None:
                problems.add(example.row.where, "has no prompt that examples could stand before")
                continue
            full = _joined(prompt, self._drawn(type(prompt), example.asked.key))
            values = {**example.row.values, "prompt": full}
            row = Row(values, example.row.where, layout=example.row.layout)
            asked = replace(example.asked, prompt=full)
            found.append(replace(example, row=row, asked=asked, bare=prompt))
        problems.check()
        return found

    def _drawn(self, kind: type, key: str) -> list[Example]:
        """Return examples that ask something else than `key`, and each something else."""
        pool = self._pools[kind]
        start = bisect(pool, position(key, "few_shot"), key=lambda placed: placed[0])
        keys, found = {key}, list[Example]()
        for _, example in chain(islice(pool, start, None), islice(pool, start)):
            if len(found) == self._count:
                break
            if example.asked.key not in keys:
                keys.add(example.asked.key)
                found.append(example)
        if len(found) < self._count:
            raise ConfigError(
                f"data.few_shot={self._count}: only {len(found)} demonstrations on the training "
                "side ask something else than a prompt, in its form (text or messages); lower it, "
                "or give more"
            )
        return found


def _placed(examples: Sequence[Example]) -> list[tuple[float, Example]]:
    """Return examples in an order that hangs on their content, with their places in it."""
    placed = [(position(example.content, "few_shot"), example) for example in examples]
    return sorted(placed, key=lambda entry: entry[0])


def _is_usable(example: Example) -> bool:
    return example.asked.prompt is not None and not example.row.document


def _joined(prompt: Text, shots: Sequence[Example]) -> Text:
    """Return a prompt behind examples: as text, or as earlier turns of the conversation."""
    if isinstance(prompt, str):
        return BETWEEN.join([*(f"{s.asked.prompt}{s.asked.answers[0]}" for s in shots), prompt])
    system = prompt[:1] if prompt[0]["role"] == "system" else []
    turns: list[Message] = []
    for shot in shots:
        asked, said = shot.asked.prompt, shot.asked.answers[0]
        if isinstance(asked, str) or isinstance(said, str) or asked is None:
            raise DataError(f"{shot.row.where}: a prompt of messages has an answer that is text")
        turns += [*(m for m in asked if m["role"] != "system"), *said]
    return [*system, *turns, *prompt[len(system) :]]
