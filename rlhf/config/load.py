"""A plain mapping becomes an Experiment, or one ConfigError that lists everything wrong with it."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rlhf.config.experiment import Experiment, cross_checks
from rlhf.config.rates import fill_rates
from rlhf.errors import ConfigError
from rlhf.secret import exposed

LARGEST = 1e18
"""Largest number of any setting: it fits in 64-bit integers, and its square in fp32."""
_WORDS = {
    "dictionary": "{name: value, ...}",
    "list": "a list, [..., ...]",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
}
"""What pydantic calls a value, as the documents call it."""
_NO_NUMBERS = (math.inf, -math.inf)
"""Refused by the models themselves."""


def load(mapping: Mapping[str, object]) -> Experiment:
    """Validate a nested mapping.

    Raises:
        ConfigError: naming every unknown key, wrong value and impossible combination at once,
            each with its dotted path and the nearest legal value.
    """
    pruned = cast("dict[str, Any]", _copy(mapping))
    secrets = list(_secrets(pruned))
    if secrets:
        raise ConfigError("\n".join(secrets))
    problems = list(_too_large(pruned))
    fill_rates(pruned, Experiment().model_dump())
    while True:
        try:
            experiment = Experiment.model_validate(pruned)
            break
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                problems.append(_explain(detail))
                _remove(pruned, detail["loc"])
    problems.extend(line for line in cross_checks(experiment) if not _follows(line, problems))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return experiment


def _follows(line: str, problems: list[str]) -> bool:
    """Return whether a list's entry names nothing because what it named was a problem already."""
    entry, names_none, _ = line.partition(" names no source")
    return bool(names_none) and any(re.match(rf"{re.escape(entry)}[.=]", told) for told in problems)


def keys(model: type[BaseModel] = Experiment, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of every setting."""
    for name, field in model.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            yield f"{prefix}{name}"
        else:
            yield from keys(section, f"{prefix}{name}.")


def texts(model: type[BaseModel] = Experiment, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield (dotted path, whether it may be a list too) of every setting that is any text."""
    for name, field in model.model_fields.items():
        section, kinds = _section(field.annotation), _kinds(field.annotation)
        if section is not None:
            yield from texts(section, f"{prefix}{name}.")
        elif str in kinds:
            yield f"{prefix}{name}", list in kinds


def _kinds(annotation: object) -> set[object]:
    """Return the plain types of an annotation, such as str and list."""
    if get_origin(annotation) in (Union, UnionType):
        return {kind for each in get_args(annotation) for kind in _kinds(each)}
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    return {get_origin(annotation) or annotation}


def _section(annotation: object) -> type[BaseModel] | None:
    for candidate in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _explain(detail: Any) -> str:
    path = ".".join(str(part) for part in detail["loc"] if not _is_branch(part))
    if detail["type"] == "extra_forbidden":
        leaves = _fields_beside(detail["loc"]) or list(keys())
        sections = {leaf.rpartition(".")[0] for leaf in leaves} - {""}
        return f"{path}: unknown setting{_nearest(path, leaves + sorted(sections))}"
    value, message = detail["input"], _in_words(detail["msg"])
    hint = ""
    if detail["type"] == "literal_error":
        legal = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        hint = _nearest(str(value), legal)
    return f"{path}={value}: {message}{hint}"


def _in_words(message: str) -> str:
    text = re.sub(r" or instance of \w+", "", message.replace("Input should", "should"))
    return re.sub(r"a valid (\w+)", lambda found: _WORDS.get(found[1], found[0]), text)


def _fields_beside(loc: tuple[int | str, ...]) -> list[str]:
    """Return what is legal beside an unknown key of a list's entry; nothing elsewhere."""
    if not any(isinstance(part, int) for part in loc):
        return []
    model: type[BaseModel] = Experiment
    parts = [part for part in loc[:-1] if not _is_branch(part)]
    for part in parts:
        if isinstance(part, str):
            model = next(_models(model.model_fields[part].annotation))
    entry = ".".join(map(str, parts))
    return [f"{entry}.{name}" for name in model.model_fields]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the sections in an annotation, those of lists among them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _is_branch(part: object) -> bool:
    """Whether a part of a location names a type of a union, which the user never typed."""
    return part in ("str", "SourceConfig") or str(part).startswith(("list[", "function-"))


def _nearest(word: str, legal: list[str]) -> str:
    match = difflib.get_close_matches(word, legal, n=1, cutoff=0.4)
    if not match:
        leaf = word.rpartition(".")[2]
        match = [key for key in legal if key.rpartition(".")[2] == leaf][:1]
    return f"; nearest: {match[0]}" if match else ""


def _copy(value: object) -> object:
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, object]", value)
        return {key: _copy(entry) for key, entry in mapping.items()}
    if isinstance(value, list):
        return [_copy(entry) for entry in cast("list[object]", value)]
    return value


@cache
def _own_words() -> frozenset[str]:
    """Return all words of the settings themselves: names, choices, defaults. They are no secret."""
    return frozenset(re.findall(r"[\w.:/-]+", json.dumps(Experiment.model_json_schema())))


def _secrets(value: object, path: str = "") -> Iterator[str]:
    """Yield one message for every secret in a text: settings are written into the run's folder."""
    if isinstance(value, Mapping):
        for key, entry in cast("Mapping[str, object]", value).items():
            yield from _secrets(key, path)
            yield from _secrets(entry, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for at, entry in enumerate(cast("list[object]", value)):
            yield from _secrets(entry, f"{path}.{at}")
    elif isinstance(value, str) and (found := exposed(value)) and value not in _own_words():
        yield (
            f"{path} holds {found}, and settings are written into the run's folder, its log and "
            "its report; leave it in the variable, or in a file that only you may read, and read "
            "it where it is used"
        )


def _too_large(mapping: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield one message for every number that does not fit; it is taken out of the mapping."""
    for key, value in list(mapping.items()):
        if isinstance(value, dict):
            yield from _too_large(cast("dict[str, Any]", value), f"{prefix}{key}.")
        elif isinstance(value, list):
            entries = enumerate(cast("list[object]", value))
            inside = {str(at): entry for at, entry in entries if isinstance(entry, dict)}
            yield from _too_large(cast("dict[str, Any]", inside), f"{prefix}{key}.")
        elif isinstance(value, int | float) and abs(value) > LARGEST and value not in _NO_NUMBERS:
            del mapping[key]
            shown = f"{value:.6g}" if abs(value) < 1e308 else "a number of over 300 digits"
            yield f"{prefix}{key}={shown}: should be between -{LARGEST:g} and {LARGEST:g}"


def _remove(mapping: dict[str, Any], loc: tuple[int | str, ...]) -> None:
    """Drop the deepest part of loc that exists, so that its default takes its place.

    An entry of a list of sections keeps its place there, so that those behind it keep theirs.
    """
    trail: list[tuple[Any, Any]] = [(mapping, loc[0])]
    for part in loc[1:]:
        holder, key = trail[-1]
        if not _has(holder, key) or not _has(holder[key], part):
            break
        trail.append((holder[key], part))
    holder, key = trail.pop()
    while isinstance(holder, list) and not holder[key]:  # was emptied, and is no entry even so
        holder, key = trail.pop()
    if isinstance(holder, list):
        cast("list[object]", holder)[key] = {}
    else:
        holder.pop(key, None)


def _has(holder: object, key: object) -> bool:
    """Return whether a mapping has a key, or a list an entry at a place."""
    if isinstance(holder, list):
        return isinstance(key, int) and key < len(cast("list[object]", holder))
    return isinstance(holder, dict) and key in holder
