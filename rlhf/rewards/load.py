"""FILE.py:NAME becomes a Python function, or one ConfigError with the reason why not."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Collection
from pathlib import Path
from types import ModuleType
from typing import cast

from rlhf.errors import ConfigError
from rlhf.rewards.function import RewardFunction
from rlhf.rewards.result import described


def load_function(spec: str) -> RewardFunction:
    """Return the function NAME of FILE.py; the file is run, as an import would.

    Args:
        spec: FILE.py:NAME, the file relative to the working folder.

    Raises:
        ConfigError: when the file is missing or fails to run (with its line), or NAME is not a
            function in it (with the nearest name that is).
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not name or not file.endswith(".py"):
        raise ConfigError(f"reward function {spec} is not of the form FILE.py:NAME")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"reward function {spec}: there is no file {path.absolute()}")
    return _pick(_run(path, spec), name, spec)


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


def _run(path: Path, spec: str) -> ModuleType:
    # Registered under a name of its own, as dataclasses and pickling look their module up there.
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]
    found = importlib.util.spec_from_file_location(f"rlhf_reward_{path.stem}_{digest}", path)
    if found is None or found.loader is None:
        raise ConfigError(f"reward function {spec}: {path} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    folder = str(path.absolute().parent)
    if folder not in sys.path:  # so that it may import the files beside it, as a script may
        sys.path.append(folder)
    try:
        found.loader.exec_module(module)
    except BaseException as error:  # a user's file may raise anything, and exit
        sys.modules.pop(found.name, None)
        raise ConfigError(
            f"reward function {spec} does not import: {_place(error, path)}: {described(error)}"
        ) from error
    return module


def _place(error: BaseException, path: Path) -> str:
    """Return FILE:LINE of the last line of the user's file that took part in the error."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _pick(module: ModuleType, name: str, spec: str) -> RewardFunction:
    members = cast("dict[str, object]", vars(module))
    if name not in members:
        functions = sorted(key for key, value in members.items() if inspect.isfunction(value))
        near = difflib.get_close_matches(name, functions, n=1, cutoff=0.4)
        hint = f"nearest: {near[0]}" if near else f"it has {', '.join(functions) or 'none'}"
        raise ConfigError(f"reward function {spec}: the file defines no {name}; {hint}")
    member = members[name]
    if not callable(member):
        raise ConfigError(
            f"reward function {spec}: {name} is a {type(member).__name__}, not a function"
        )
    return _with_signature(member, spec)


def _with_signature(function: RewardFunction, spec: str) -> RewardFunction:
    """Return the function after making sure its parameters can be read, as scoring needs them."""
    try:
        inspect.signature(function)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"reward function {spec}: {error}; wrap it in a def") from error
    return function
