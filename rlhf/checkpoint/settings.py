"""Which settings decide a stage's result, and how two runs' settings differ.

A run goes on only with the settings that decided its results so far. Every setting counts for
every stage, unless it is listed here as free, or as not read by that stage. A folder goes on
counting what counted when it was made: a setting that came later counts there once it is set to
something else than its default.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

from rlhf.catalog.stages import StageRecord, not_read
from rlhf.config.load import load
from rlhf.errors import ConfigError

Settings = Mapping[str, object]
"""Values by dotted path."""

FREE = (
    "run_dir",
    "run_mode",
    "tracking",
    "checkpoint",
    "evaluation",
    "export",
    "sweep",
    "plan",
    "preview",
    "cluster",
    "engine.gradient_checkpointing",
    "engine.threads",
    "engine.max_tokens_per_microbatch",
    "generation.batch_size",
    "reward.timeout_s",
)
"""Sections and settings that change where and how fast a run is, never its result."""


def deciding(
    stage: StageRecord, config: Mapping[str, object], known: Collection[str] | None = None
) -> dict[str, object]:
    """Return the settings that decide a stage's result, by dotted path, as JSON would keep them.

    Args:
        stage: The stage.
        config: The whole configuration, nested.
        known: What counted when the stage's folder was made; None for a new one. All of it counts
            still, and of the settings that came later those that differ from their defaults.
    """
    plain = cast("dict[str, Any]", json.loads(json.dumps(config)))
    settings = dict(_flatten(plain))
    ignored = (*FREE, *not_read(stage), *_also_free(settings))
    counts = {path: value for path, value in settings.items() if not _under(path, ignored)}
    if known is None:
        return counts
    unknown = [path for path in counts if path not in known]
    usual = _without(plain, unknown) if unknown else {}
    kept = {path: value for path, value in settings.items() if path in known}
    return kept | {path: counts[path] for path in unknown if _differs(path, counts, usual)}


def differences(there: Settings, here: Settings) -> list[str]:
    """Return one `path (value there, value here)` for every setting that is not the same."""
    return [
        f"{path} ({_shown(there, path)} there, {_shown(here, path)} here)"
        for path in sorted({*there, *here})
        if _differs(path, there, here)
    ]


def _differs(path: str, there: Settings, here: Settings) -> bool:
    return (path in there, there.get(path)) != (path in here, here.get(path))


def _without(config: dict[str, Any], paths: Iterable[str]) -> dict[str, object]:
    """Return all settings of a configuration, with defaults for those that are not given."""
    for path in paths:
        *sections, name = path.split(".")
        inside = config
        for section in sections:
            inside = inside[section]
        del inside[name]
    try:
        return dict(_flatten(load(config).model_dump(mode="json")))
    except ConfigError:  # some cannot be left out
        return {}


def _also_free(settings: Settings) -> tuple[str, ...]:
    """A run may be made longer, unless its learning rates are stretched over its length."""
    schedules = {settings.get(f"{role}.optimizer.schedule") for role in ("policy", "value")}
    return ("ppo.num_steps",) if schedules <= {"constant", None} else ()


def _flatten(config: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flatten(cast("Mapping[str, object]", value), f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _under(path: str, prefixes: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in prefixes)


def _shown(settings: Settings, path: str) -> str:
    return str(settings[path]) if path in settings else "not set"
