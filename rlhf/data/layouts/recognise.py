"""Recognise: rows of a public layout become rows with TRL's columns, and which it is is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rlhf.data.columns import Columns, fitting
from rlhf.data.layouts import chats, dialogues, kto, oasst, pairs, ratings
from rlhf.data.layouts.dialogues import as_dialogue
from rlhf.data.layouts.layout import Exchange, Kind, Layout
from rlhf.data.problems import Problems
from rlhf.data.rows import Row
from rlhf.data.template import Message, Text
from rlhf.errors import DataError

_log = logging.getLogger(__name__)
LAYOUTS: tuple[Layout, ...] = (
    *(*chats.LAYOUTS, *dialogues.LAYOUTS, *pairs.LAYOUTS),
    *(*ratings.LAYOUTS, *oasst.LAYOUTS, *kto.LAYOUTS),
)
_OURS = ("text", "messages", "prompt", "completion", "chosen", "rejected", "answers")
_CUE = "\n\nAssistant:"


def as_trl(
    rows: Sequence[Row], kind: Kind, legal: Sequence[Columns], problems: Problems, *, chats: bool
) -> list[Row]:
    """Return the rows with TRL's columns, where they have those of a layout; others as they are.

    Args:
        rows: of one source.
        kind: what they are read for.
        legal: TRL's columns for that.
        problems: notes rows that cannot be used; its subject is the source's name.
        chats: whether the tokenizer has a chat template; without one, messages become text.

    Raises:
        DataError: when a layout's rows say nothing about what they are read for.
    """
    known: dict[frozenset[str], list[Layout]] = {}
    found: list[Row] = []
    marked: list[tuple[Layout | None, Row]] = []
    for row in rows:
        names = frozenset(row.values)
        if names not in known:
            known[names] = [x for x in LAYOUTS if any(names >= need for need in x.columns)]
        likely = known[names]
        fits = [x for x in likely if x.holds(row.values) and not _is_trl(row, x, legal)]
        if len(fits) > 1:
            problems.add(row.where, _ambiguous(row, fits))
        else:
            marked.append((fits[0] if fits else None, row))
    for layout, stretch in groupby(_sorted(marked), key=lambda entry: entry[0]):
        same = [row for _, row in stretch]
        found += same if layout is None else _read(layout, same, kind, problems, chats=chats)
    return found


def _sorted(
    marked: Sequence[tuple[Layout | None, Row]],
) -> list[tuple[Layout | None, Row]]:
    """Return rows of one layout next to each other, each layout where its first row was."""
    if not any(layout for layout, _ in marked):
        return list(marked)
    first = {id(layout): place for place, (layout, _) in reversed(list(enumerate(marked)))}
    return sorted(marked, key=lambda entry: first[id(entry[0])])


def _is_trl(row: Row, layout: Layout, legal: Sequence[Columns]) -> bool:
    """Return whether a row has a prompt of its own, beside the columns of a layout without one."""
    has_prompt = bool(row.values.get("prompt")) and all("prompt" not in x for x in layout.columns)
    return has_prompt and fitting(row.values, legal) is not None


def _ambiguous(row: Row, fits: Sequence[Layout]) -> str:
    names = " or ".join(layout.name for layout in fits)
    return (
        f"columns {', '.join(sorted(row.values))} are those of {names}; say by data.columns which "
        "are meant, such as data.columns={prompt: question}"
    )


def _read(
    layout: Layout, rows: Sequence[Row], kind: Kind, problems: Problems, *, chats: bool
) -> list[Row]:
    subject = problems.subject
    found: list[Row] = []
    faults, undecided = 0, 0
    for group in _groups(layout, rows):
        try:
            for exchange in layout.read([row.values for row in group], kind):
                row = group[exchange.row]
                values = _values(exchange, kind)
                undecided += values is None
                if values is not None:
                    plain = values if chats else _spelled(values)
                    whole = {**_beside(row.values), **_named(plain)}
                    found.append(Row(whole, row.where, layout=layout.name))
        except RecursionError:
            problems.add(group[0].where, "is nested too deep to be read")
            faults += 1
        except DataError as error:
            problems.add(group[0].where, error)
            faults += 1
    if not found and not faults:
        raise DataError(
            f"{subject}: reading as: {layout.name}: none of its {len(rows)} rows makes "
            f"{kind}; give other data, or name its columns by data.columns"
        )
    counts = (len(rows), len(found), undecided)
    _log.warning(
        "%s: reading as: %s%s%s",
        subject,
        layout.name,
        _made(layout, kind, counts),
        "" if chats else "; as text, since the tokenizer has no chat template",
    )
    return found


def _made(layout: Layout, kind: Kind, counts: tuple[int, int, int]) -> str:
    rows, made, undecided = counts
    text = f"; its {rows:,} rows make {made:,} {kind}" if made != rows else ""
    if undecided:
        better = "a better" if kind == "preferences" else "an"
        text += f"; {undecided:,} without {better} answer are left out"
    return text + (f"; {layout.note}" if layout.note and kind == "demonstrations" else "")


def _groups(layout: Layout, rows: Sequence[Row]) -> list[list[Row]]:
    if layout.together is None:
        return [[row] for row in rows]
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(str(layout.together(row.values)), []).append(row)
    return list(groups.values())


def _values(exchange: Exchange, kind: Kind) -> dict[str, Text | list[Text]] | None:
    """Return TRL's columns for an exchange; None where it has too few answers for them."""
    if kind == "prompts":
        return {"prompt": exchange.prompt}
    if kind == "demonstrations" and exchange.conversation:
        return {"messages": exchange.conversation}
    levels: dict[float, Text] = {}
    for level, answer in exchange.answers:
        levels.setdefault(level, answer)
    best_first = [levels[level] for level in sorted(levels, reverse=True)]
    if len(best_first) < (1 if kind == "demonstrations" else 2):
        return None
    answers = {"completion": best_first[0]} if kind == "demonstrations" else {"answers": best_first}
    return {"prompt": exchange.prompt, **answers}


def _named(values: Mapping[str, Text | list[Text]]) -> dict[str, object]:
    """Return two ranked answers as chosen and rejected, as all else calls them."""
    answers = values.get("answers", ())
    if len(answers) != 2:
        return {**values}
    return {"prompt": values["prompt"], "chosen": answers[0], "rejected": answers[1]}


def _beside(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name not in _OURS}


def _spelled(values: Mapping[str, Text | list[Text]]) -> dict[str, Text | list[Text]]:
    """Return TRL's columns with text in the place of messages."""
    plain = {name: _as_text(value, name) for name, value in values.items()}
    return {"text": plain["messages"]} if "messages" in plain else plain


def _as_text(value: Text | list[Text], column: str) -> Text | list[Text]:
    """Return messages as a dialogue written as text."""
    if column == "answers":
        return [text if isinstance(text, str) else _answer(text) for text in _texts(value)]
    if isinstance(value, str):
        return value
    messages: list[Message] = [m for m in value if isinstance(m, dict)]
    if column == "prompt":
        return as_dialogue(messages) + _CUE
    return _answer(messages) if column == "completion" else as_dialogue(messages)


def _texts(value: Text | list[Text]) -> Iterator[Text]:
    yield from value  # type: ignore[misc]


def _answer(messages: Sequence[Message]) -> str:
    return as_dialogue(messages).removeprefix(_CUE)
