"""FILE.py:NAME becomes a Python function, or one ConfigError with the reason why not."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Collection
from pathlib import Path

from rlhf.errors import ConfigError
from rlhf.plugin import load
from rlhf.rewards.function import RewardFunction


def load_function(spec: str) -> RewardFunction:
    """Return the function NAME of FILE.py; the file is run, as an import would.

    Args:
        spec: FILE.py:NAME, the file relative to the working folder.

    Raises:
        ConfigError: when there is no such function, or its parameters cannot be read.
    """
    return _with_signature(load(spec, "reward function"), spec)


def files_of(file: Path, before: Collection[str]) -> list[str]:
    """Return a function's file, and those of its folder that were imported by running it.

    Args:
        file: Absolute.
        before: Names of the modules that were there before.
    """
    new = [sys.modules[name] for name in sys.modules.keys() - before]
    named = [getattr(module, "__file__", None) for module in new]
    files = {Path(name) for name in named if isinstance(name, str)} - {file}
    beside = [f for f in files if f.is_relative_to(file.parent) and "site-packages" not in f.parts]
    return [str(file), *sorted(map(str, beside))]


def _with_signature(function: RewardFunction, spec: str) -> RewardFunction:
    """Return the function after making sure its parameters can be read, as scoring needs them."""
    try:
        inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"reward function {spec}: {error}; wrap it in a def") from error
    return function
