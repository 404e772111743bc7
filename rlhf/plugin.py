"""FILE.py:NAME becomes the function it names, or one ConfigError that says why it does not."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from rlhf.errors import ConfigError, described

Function = Callable[..., Any]


def load(spec: str, what: str) -> Function:
    """Return the function NAME of FILE.py; the file is run, as an import would.

    Args:
        spec: FILE.py:NAME, the file relative to the working folder.
        what: It is for, such as "reward function"; messages begin with it.

    Raises:
        ConfigError: when the file is missing or fails to run (with its line), or NAME is not a
            function in it (with the nearest name that is).
    """
    file, colon, name = spec.rpartition(":")
    if not colon or not name or not file.endswith(".py"):
        raise ConfigError(f"{what} {spec} is not of the form FILE.py:NAME")
    path = Path(file)
    if not path.is_file():
        raise ConfigError(f"{what} {spec}: there is no file {path.absolute()}")
    return _pick(_run(path, f"{what} {spec}"), name, f"{what} {spec}")


def _run(path: Path, who: str) -> ModuleType:
    # Registered under a name of its own, as dataclasses and pickling look their module up there.
    digest = hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:12]
    found = importlib.util.spec_from_file_location(f"rlhf_plugin_{path.stem}_{digest}", path)
    if found is None or found.loader is None:
        raise ConfigError(f"{who}: {path} is no Python file")
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
            f"{who} does not import: {_place(error, path)}: {described(error)}"
        ) from error
    return module


def _place(error: BaseException, path: Path) -> str:
    """Return FILE:LINE of the last line of the user's file that took part in the error."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _pick(module: ModuleType, name: str, who: str) -> Function:
    members = cast("dict[str, object]", vars(module))
    if name not in members:
        functions = sorted(key for key, value in members.items() if inspect.isfunction(value))
        near = difflib.get_close_matches(name, functions, n=1, cutoff=0.4)
        hint = f"nearest: {near[0]}" if near else f"it has {', '.join(functions) or 'none'}"
        raise ConfigError(f"{who}: the file defines no {name}; {hint}")
    member = members[name]
    if not callable(member):
        raise ConfigError(f"{who}: {name} is a {type(member).__name__}, not a function")
    return member
