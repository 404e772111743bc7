"""Section: the base class of every section of the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def at_home(value: object) -> object:
    """Return a text with ~ or ~user at its start replaced by that home folder, as a shell would."""
    return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111 - names too


def absent(path: str) -> str:
    """Return why nothing can be at a path, empty where something may: a name on the hub, too.

    The hub's names are NAME or ORG/NAME, so what begins with a dot or a slash, has two slashes, or
    lies in a folder that is there, is a path; it is not looked for on the hub, which takes long.
    """
    place = Path(path)
    above = place.parent
    within = "/" in path and above.is_dir()
    if place.exists() or not (path.startswith((".", "/", "~")) or path.count("/") > 1 or within):
        return ""
    here = f", though {above} is one" if within and path[0] not in "./~" else ""
    return f"{path}: there is no such folder{here}; give a model folder or a hub name"


LONGEST_PART, LONGEST_PATH = 255, 2000
"""Bytes of a file's name, and of its path, with room for the folder that it is in."""


def _place(value: object) -> object:
    try:
        name = str(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a name that is no UTF-8 cannot stand in a run's records") from error
    parts = [len(part) for part in name.split(b"/")]
    if max(parts) > LONGEST_PART or len(name) > LONGEST_PATH or b"\0" in name:
        raise ValueError(
            f"no file system takes such a name (rule: {LONGEST_PART} bytes between two slashes, "
            f"{LONGEST_PATH} in all, none of them 0)"
        )
    return at_home(value)


Place = Annotated[str, BeforeValidator(_place)]
"""A file, a folder, or the name of something that is fetched; ~ is the home folder."""


class Section(BaseModel):
    """Frozen and strict: unknown keys and wrong types are refused, nothing is coerced."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )
