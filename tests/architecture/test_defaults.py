"""Every default has one home, rlhf/config; a YAML holds differences from it and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from rlhf.config.experiment import Experiment
from rlhf.config.load import keys
from rlhf.config.model import NewModelConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
HYDRA_ONLY = {"defaults", "hydra"}
FILES = sorted(CONF.rglob("*.yaml"))


def test_there_are_recipes():
    assert [path for path in FILES if path.parent.name == "recipe"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_setting_is_known_and_legal(path):
    settings = as_settings(path)
    unknown = [key for key, _ in leaves(settings) if not known(key)]
    assert not unknown, f"{path.relative_to(CONF)}: {unknown}"
    try:
        Experiment.model_validate(without_references(settings))
    except ValidationError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_no_setting_repeats_its_default(path):
    settings = without_references(as_settings(path))
    asked = Experiment.model_validate(settings).model_dump()
    same = [key for key, _ in leaves(settings) if find(asked, key) == find(DEFAULTS, key)]
    assert not same, f"{path.relative_to(CONF)} repeats {same}"


def test_a_section_that_is_off_has_defaults_too():
    assert find(DEFAULTS, "policy.new.num_layers") == NewModelConfig().num_layers
    assert find(DEFAULTS, "policy.optimizer.lr") == Experiment().policy.optimizer.lr


def as_settings(path: Path) -> dict[str, object]:
    """Read one YAML as Hydra would place it, without its defaults list and Hydra's own settings."""
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text) or {}
    content = {key: value for key, value in content.items() if key not in HYDRA_ONLY}
    package = ".".join(path.relative_to(CONF).parent.parts)
    for line in text.splitlines():
        if line.startswith("# @package "):
            package = line.removeprefix("# @package ").strip()
    for part in reversed(package.split(".") if package not in {"", "_global_"} else []):
        content = {part: content}
    return content


def leaves(settings: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield every setting with its dotted path."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def known(key: str) -> bool:
    """Whether the configuration has this setting, or a section of this name set to null."""
    return any(path == key or path.startswith(f"{key}.") for path in keys())


def without_references(settings: Mapping[str, object]) -> dict[str, object]:
    """Leave out values that only Hydra can fill in, such as ${run_dir}."""
    return {
        name: without_references(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if not (isinstance(value, str) and "${" in value)
    }


def find(settings: object, key: str) -> object:
    """Look a dotted path up, through sections and past the ones that are off."""
    for part in key.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def with_defaults(section: BaseModel) -> dict[str, object]:
    """Return every default of a section, and of the sections inside it that are off."""
    found: dict[str, object] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        inner = [kind for kind in get_args(field.annotation) if is_section(kind)]
        value = inner[0]() if value is None and inner else value
        found[name] = with_defaults(value) if isinstance(value, BaseModel) else value
    return found


def is_section(kind: object) -> bool:
    """Whether a type is a section of the configuration."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


DEFAULTS = with_defaults(Experiment())
