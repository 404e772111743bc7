"""Defaults that `rlhf evaluate` takes from the run it evaluates; the command line overrides them.

Answers are to be drawn as the run drew them, to prompts that it held out; so its `generation`
settings and its `data` are the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from rlhf.config.section import at_home
from rlhf.observe.files import MANIFEST, read_object

TAKEN: Final = ("generation", "data")
OF_PROMPTS: Final = ("data.prompts", "data.test_prompts")


def as_the_run_had(schema: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return all defaults, those of TAKEN as the run in run_dir has them in its manifest.

    Args:
        schema: Every setting with its default.
        overrides: The command line as typed; run_dir is read from it.
    """
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    typed = {key: value for key, _, value in pairs}
    folder = str(at_home(str(typed.get("run_dir") or schema["run_dir"]).strip("'\"")))
    had = read_object(Path(folder) / MANIFEST).get("config")
    if not isinstance(had, dict):
        return dict(schema)
    known = cast("dict[str, Any]", had)
    taken = {name: {**schema[name], **_known(known.get(name), schema[name])} for name in TAKEN}
    if any(name in typed for name in OF_PROMPTS):
        # Other prompts are given: none of the run's own.
        taken["data"] |= {name.rpartition(".")[2]: None for name in OF_PROMPTS}
    return {**schema, **taken}


def _known(had: object, section: Mapping[str, Any]) -> dict[str, Any]:
    """Return those settings of a section that this release still has."""
    return {k: v for k, v in had.items() if k in section} if isinstance(had, dict) else {}
