"""KTO: a prompt, a completion and whether it is a good one (Ethayarajh et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlhf.data.columns import as_text, same_kind
from rlhf.data.layouts.layout import Exchange, Kind, Layout, Values, need
from rlhf.data.template import Text
from rlhf.errors import DataError

_GOOD: dict[object, bool] = {
    True: True,
    False: False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
}


def _label(values: Values) -> bool | None:
    """Return whether a completion is good; None where the column says something else."""
    value = values.get("label")
    word = value.strip().lower() if isinstance(value, str) else value
    return _GOOD.get(word) if isinstance(word, int | str) else None


def _kto(rows: Sequence[Values], kind: Kind) -> Iterable[Exchange]:
    """A good completion is a demonstration, and is better than each bad one to its prompt."""
    read = [_completion(values) for values in rows]
    bad = [completion for _, completion, is_good in read if not is_good]
    for index, (prompt, completion, is_good) in enumerate(read):
        if kind == "prompts" or (kind == "demonstrations" and is_good):
            yield Exchange(prompt, ((1.0, completion),), row=index)
        elif kind == "preferences" and is_good:
            for worse in bad:
                yield Exchange(prompt, ((1.0, completion), (0.0, worse)), row=index)


def _completion(values: Values) -> tuple[Text, Text, bool]:
    prompt = as_text(values["prompt"] or "", "prompt")
    completion = as_text(values["completion"] or "", "completion")
    same_kind({"prompt": prompt, "completion": completion})
    label = _label(values)
    if label is None:
        raise DataError("label is null; it must be true or false")
    return prompt, completion, label


LAYOUTS = (
    Layout(
        "KTO",
        (need("prompt", "completion", "label"),),
        _kto,
        lambda values: values["label"] is None or _label(values) is not None,
        lambda values: values["prompt"],
        "completions with label=false are not imitated",
    ),
)
