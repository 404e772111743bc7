"""FILE.py:NAME becomes the function it names, or one ConfigError that says why it does not.

packaged:NAME/KIND is short for the function KIND of the project's own examples/NAME/NAME.py.
"""

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
from typing import Any, Final, cast

from rlhf.errors import ConfigError, described

Function = Callable[..., Any]

PACKAGED: Final = "packaged:"
EXAMPLES: Final = "examples"


def is_function(spec: str) -> bool:
    """Return whether a text means a function, and no file, folder or name of something else."""
    return spec.startswith(PACKAGED) or ".py:" in spec


def shipped(folder: str) -> Path:
    """Return a folder of the project: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def parted(spec: str, what: str) -> tuple[Path, str]:
    """Return the file and the name of FILE.py:NAME, or of packaged:NAME/KIND.

    Raises:
        ConfigError: when it is neither, or there is no such file.
    """
    file, colon, name = spec.rpartition(":")
    if spec.startswith(PACKAGED):
        example, _, name = name.partition("/")
        file = str(shipped(EXAMPLES) / example / f"{example}.py")
    elif not colon or not name or not file.endswith(".py"):
        raise ConfigError(f"{what} {spec} is not of the form FILE.py:NAME")
    path = Path(file)
    if path.is_file():
        return path, name
    if spec.startswith(PACKAGED):
        there = sorted(f"{PACKAGED}{p.parent.name}" for p in shipped(EXAMPLES).glob("*/*.py"))
        raise ConfigError(
            f"{what} {spec}: no such example; legal: {', '.join(dict.fromkeys(there))}"
        )
    raise ConfigError(f"{what} {spec}: there is no file {path.absolute()}")


def fetched(path: str) -> str:
    """Return a model's path as it is, but packaged:NAME as what model() of that example returns.

    Raises:
        ConfigError: when there is no such example, or it has no model.
        DataError: when it cannot be fetched.
    """
    return str(load(f"{path}/model", "model")()) if path.startswith(PACKAGED) else path


def load(spec: str, what: str) -> Function:
    """Return the function NAME of FILE.py; the file is run, as an import would.

    Args:
        spec: FILE.py:NAME, the file relative to the working folder, or packaged:NAME/KIND.
        what: It is for, such as "reward function"; messages begin with it.

    Raises:
        ConfigError: when the file is missing or fails to run (with its line), or NAME is not a
            function in it (with the nearest name that is).
    """
    path, name = parted(spec, what)
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
            f"{who} does not import: {place(error, path)}: {described(error)}"
        ) from error
    return module


def place(error: BaseException, path: Path) -> str:
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
        raise ConfigError(f"{who}: the file defines no {name or 'such thing'}; {hint}")
    member = members[name]
    if not callable(member):
        raise ConfigError(f"{who}: {name} is a {type(member).__name__}, not a function")
    return member
