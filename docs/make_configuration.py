"""Prints docs/configuration.md: every setting with its type, default and meaning (`make docs`)."""

from __future__ import annotations

import typing
from collections.abc import Iterator

from annotated_types import BaseMetadata
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rlhf.config.experiment import Experiment

HEADER = """# Configuration

Written by `make docs` from the docstrings in `rlhf/config/`; edit those, not this page. Any setting
can be given on the command line: `rlhf ppo ppo.kl_coef=0.1`.

A file of settings of your own is a recipe: with `--config-dir=FOLDER`, `FOLDER/recipe/NAME.yaml` is
one more choice of the group `recipe`. It begins with the line `# @package _global_` and holds
differences from the defaults, as those in `conf/recipe/` do. To replace `conf/` altogether, give
`--config-path=FOLDER --config-name=NAME`, the folder by its path from the root, and let `NAME.yaml`
begin so (without the second line Hydra makes a folder `outputs/` of its own):

```
defaults: [schema, _self_]
hydra: {output_subdir: null, run: {dir: .}}
```
"""


def tables(model: type[BaseModel], prefix: str = "", defaults: object = None) -> Iterator[str]:
    """Yield the Markdown of one section, then of the sections inside it."""
    rows: list[str] = []
    inner: list[str] = []
    for name, field in model.model_fields.items():
        value = getattr(defaults, name) if defaults is not None else field.default
        section = section_of(field.annotation)
        if section is None:
            rows.append(row(f"{prefix}{name}", field, value))
        else:
            known = value if isinstance(value, section) else None
            inner.extend(tables(section, f"{prefix}{name}.", known))
    title = f"`{prefix.rstrip('.')}`" if prefix else "The run"
    yield f"\n## {title}\n\n{(model.__doc__ or '').strip()}\n"
    if rows:
        yield "| setting | type | default | meaning |\n|---|---|---|---|"
        yield from rows
    yield from inner


def row(path: str, field: FieldInfo, default: object) -> str:
    """Return one setting as a line of a table."""
    shown = "required" if default is PydanticUndefined else show(default)
    meaning = " ".join((field.description or "").split())
    cells = (f"`{path}`", f"{kind(field.annotation)}{limits(field)}", shown, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def show(value: object) -> str:
    """Return a default as it is written in YAML."""
    words = {None: "not given", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else f"`{value}`"


def kind(annotation: object) -> str:
    """Return a type in words; the choices, where there are only a few."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(str(choice) for choice in arguments)
    if typing.get_origin(annotation) is list:
        return f"list of {kind(arguments[0])}"
    if arguments:
        return " or ".join(kind(each) for each in arguments if each is not type(None))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )


def limits(field: FieldInfo) -> str:
    """Return the bounds of a number: `, > 0`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = [
        f"{sign} {vars_of(limit)[name]}"
        for limit in field.metadata
        if isinstance(limit, BaseMetadata)
        for name, sign in signs.items()
        if name in vars_of(limit)
    ]
    return "".join(f", {each}" for each in found)


def vars_of(limit: BaseMetadata) -> dict[str, object]:
    """Return the fields of one bound."""
    return {name: getattr(limit, name) for name in type(limit).__annotations__}


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section a setting is, or is when given; a list of sections is a plain setting."""
    if typing.get_origin(annotation) is list:
        return None
    for candidate in (annotation, *typing.get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


if __name__ == "__main__":
    print(HEADER + "\n".join(tables(Experiment)))
