"""Defaults that `rlhf evaluate` takes from the run it evaluates; the command line overrides them.

Answers are to be drawn as the run drew them, to prompts that it held out; so its `generation`
settings and its `data` are the defaults. Of other prompts nothing was trained on: all are asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from rlhf.config.section import at_home
from rlhf.observe.files import MANIFEST, read_object

TAKEN: Final = ("generation", "data")
OF_PROMPTS: Final = ("prompts", "test_prompts")


def as_the_run_had(schema: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return all defaults, those of TAKEN as the run in run_dir has them in its manifest.

    Args:
        schema: Every setting with its default.
        overrides: The command line as typed; run_dir is read from it.
    """
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    typed = {key: value for key, _, value in pairs}
    folder = at_home(_unquoted(str(typed.get("run_dir") or schema["run_dir"])))
    had = read_object(Path(str(folder)) / MANIFEST).get("config")
    known = cast("dict[str, Any]", had) if isinstance(had, dict) else {}
    taken = {name: {**schema[name], **_known(known.get(name), schema[name])} for name in TAKEN}
    own = [taken["data"][name] for name in OF_PROMPTS]
    given = [_unquoted(typed[f"data.{name}"]) for name in OF_PROMPTS if f"data.{name}" in typed]
    if given:
        # Other prompts take the place of both of the run's own.
        taken["data"] |= dict.fromkeys(OF_PROMPTS)
        if not any(_is_in(path, own) for path in given):
            taken["data"] |= {"validation_fraction": 0.0, "test_fraction": 0.0}
            taken["evaluation"] = {**schema["evaluation"], "num_prompts": None}
    return {**schema, **taken}


def _unquoted(text: str) -> str:
    return text.strip("'\"")


def _is_in(path: str, own: Sequence[object]) -> bool:
    """Return whether a path names one of the run's own sources, or a mixture that holds it."""
    place = Path(str(at_home(path))).absolute()
    return any(place == Path(source).absolute() for entry in own for source in _paths(entry))


def _paths(entry: object) -> list[str]:
    """Return the paths of one source, of a mixture of them, or of none."""
    if isinstance(entry, list):
        return [path for part in cast("list[object]", entry) for path in _paths(part)]
    if isinstance(entry, dict):
        return _paths(cast("dict[str, object]", entry).get("path"))
    return [entry] if isinstance(entry, str) else []


def _known(had: object, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of a section that this release still has."""
    return {k: v for k, v in had.items() if k in section} if isinstance(had, dict) else {}
