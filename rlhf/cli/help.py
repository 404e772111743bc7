"""`rlhf COMMAND --help`: what the command does, its groups, and settings with their defaults."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from rlhf.cli.about import about
from rlhf.config.experiment import Experiment

SHORTEST = 60
"""Letters of a line in the narrowest terminal."""


def help_on(command: str, groups: Sequence[Path]) -> str:
    """Return the page on one command.

    Args:
        command: Its name.
        groups: Folders of the configuration groups; none for a command without settings.
    """
    width = max(SHORTEST, shutil.get_terminal_size().columns)
    lines = [*about(command).head(command, width)]
    if not groups:
        return "\n".join([*lines, ""])
    lines += ["", "groups:"]
    for folder in groups:
        names = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        lines.append(f"  {folder.name}={names}")
    lines += ["", "settings, with their defaults (docs/configuration.md has the whole text):"]
    for name, default, meaning in settings(Experiment, Experiment()):
        line = textwrap.shorten(f"{name}={default}: {meaning}", width - 2, placeholder=" ...")
        lines.append(f"  {line}")
    lines += ["", f"`rlhf {command} --cfg job KEY=VALUE` shows the configuration a run would use."]
    return "\n".join([*lines, ""])


def settings(model: type[BaseModel], value: Any, prefix: str = "") -> Iterator[tuple[str, ...]]:
    """Yield (dotted path, default, meaning) of every setting."""
    for name, field in model.model_fields.items():
        own = getattr(value, name)
        if isinstance(own, BaseModel):
            yield from settings(type(own), own, f"{prefix}{name}.")
        else:
            meaning = " ".join((field.description or "").split())
            yield f"{prefix}{name}", "null" if own is None else str(own), meaning
