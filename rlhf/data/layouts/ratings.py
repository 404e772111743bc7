"""Answers with ratings: UltraFeedback, HelpSteer and HelpSteer2."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from rlhf.data.canonical import key_of
from rlhf.data.columns import as_text
from rlhf.data.layouts.layout import (
    Exchange,
    Kind,
    Layout,
    Values,
    assistant,
    by_row,
    entries,
    named,
    need,
    number,
    one_of,
    parted,
    told,
    user,
)
from rlhf.data.template import Message
from rlhf.errors import DataError

_RATINGS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
# HelpSteer2 writes the turns of a longer prompt into one text.
_TURN = re.compile(r"\n*<extra_id_1>(User|Assistant)\n")


def _ultrafeedback(values: Values) -> Exchange:
    """Cui et al. 2023: four completions with an overall score each."""
    answers = [
        (number(c, "overall_score"), assistant(named(c, "response", f"completions[{k}].response")))
        for k, c in enumerate(entries(values, "completions"))
    ]
    return Exchange([user(told(values, "instruction"))], tuple(answers))


def _binarized(values: Values) -> Exchange:
    """Tunstall et al. 2023: two whole conversations, beside a copy of their first message."""
    whole = [as_text(values[name], name) for name in ("chosen", "rejected")]
    chosen, rejected = (side for side in whole if isinstance(side, list))
    found = parted(chosen, rejected)
    if key_of(told(values, "prompt")) not in {key_of([{**m, "role": "user"}]) for m in found.prompt
                                             if isinstance(m, dict)}:  # fmt: skip
        raise DataError("prompt is no message that chosen and rejected begin with, and is not read")
    return found


def _is_binarized(values: Values) -> bool:
    both = (values["chosen"], values["rejected"])
    return (
        not isinstance(both[0], str)
        and isinstance(values["prompt"], str)
        and all(
            isinstance(side, list) and side and isinstance(side[0], dict) and "role" in side[0]
            for side in cast("Sequence[Any]", both)
        )
    )


def _helpsteer(rows: Sequence[Values], _: Kind) -> Iterable[Exchange]:
    """Wang et al. 2023, 2024: a row an answer; the more helpful answer to a prompt is better."""
    answers = [
        (number(values, "helpfulness"), assistant(told(values, "response"))) for values in rows
    ]
    return [Exchange(_asked(told(rows[0], "prompt")), tuple(answers))]


def _helpsteer2_preference(values: Values) -> Exchange:
    """Wang et al. 2024b: -3 (response_1 is much better) to 3 (response_2 is)."""
    strength = one_of(values, "preference_strength", range(-3, 4))
    answers = [assistant(told(values, f"response_{k}")) for k in (1, 2)]
    prompt = _asked(told(values, "prompt"))
    return Exchange(prompt, ((-strength, answers[0]), (strength, answers[1])))


def _asked(prompt: str) -> list[Message]:
    first, *turns = _TURN.split(prompt)
    said = zip(turns[::2], turns[1::2], strict=True)
    return [user(first), *({"role": name.lower(), "content": text} for name, text in said)]


LAYOUTS = (
    Layout(
        "UltraFeedback",
        (need("instruction", "completions"),),
        by_row(_ultrafeedback),
        lambda values: isinstance(values["completions"], list | dict),
    ),
    Layout(
        "UltraFeedback (binarized)",
        (need("prompt", "chosen", "rejected"),),
        by_row(_binarized),
        _is_binarized,
    ),
    Layout(
        "HelpSteer",
        (need("prompt", "response", *_RATINGS),),
        _helpsteer,
        together=lambda values: values["prompt"],
    ),
    Layout(
        "HelpSteer2 (preference)",
        (need("prompt", "response_1", "response_2", "preference_strength"),),
        by_row(_helpsteer2_preference),
    ),
)
