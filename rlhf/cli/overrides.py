"""Overrides: the typed command line in the form that Hydra reads as meant.

Values go to Hydra as `++key=value`, so that an unknown key reaches the models, which report all
faults at once and name the nearest legal key. Hydra's grammar gives `= , [ ( { # & '` a meaning and
refuses most letters beyond ASCII; the value of a setting that is any text, such as a path, is
quoted here wherever it could mean nothing else.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from rlhf.config.load import texts
from rlhf.config.section import at_home
from rlhf.errors import ConfigError

PASSED_ON = ("-", "~", "hydra.", "hydra/")
"""Beginnings of what Hydra gets as it is."""
FLAGS = (
    *("--cfg", "-c", "--resolve", "--package", "-p", "--info", "-i", "--hydra-help"),
    *("--multirun", "-m", "--run", "-r"),
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
)
"""What may be typed beside settings."""
SWEEPS = ("--multirun", "-m")


def for_hydra(arguments: Sequence[str], groups: Sequence[str]) -> list[str]:
    """Return a command line in the form that is passed to Hydra.

    Raises:
        ConfigError: for an unknown flag.
    """
    wrong = [word for word in arguments if _is_flag(word) and word.partition("=")[0] not in FLAGS]
    if wrong:
        near = difflib.get_close_matches(wrong[0], FLAGS, n=1, cutoff=0.7)
        hint = f"nearest: {near[0]}" if near else f"legal: {', '.join(FLAGS)}"
        raise ConfigError(f"{wrong[0]}: there is no such flag; {hint}")
    passed = [
        _passed(word, groups, sweeps=any(w in SWEEPS for w in arguments)) for word in arguments
    ]
    # Settings on both sides of it are more than Hydra's parser takes.
    passed.sort(key=lambda word: word not in SWEEPS)
    is_shown = any(word in ("job", "--cfg=job", "-cjob") for word in passed)
    # The rates that depend on peft.method are shown as numbers.
    return [*passed, "--resolve"] if is_shown and "--resolve" not in passed else passed


def _is_flag(word: str) -> bool:
    """Return whether a word is a flag: a dash and letters, not a negative number."""
    return word.startswith("-") and word not in ("-", "--")


def _passed(argument: str, groups: Sequence[str], *, sweeps: bool) -> str:
    key, equals, typed = argument.partition("=")
    if not equals or argument.startswith(PASSED_ON) or key.partition("@")[0] in groups:
        return argument
    _check_digits(argument)
    plus = key[: len(key) - len(key.lstrip("+"))] or "++"
    name = key.lstrip("+")
    return f"{plus}{name}={_value(name, typed, sweeps=sweeps)}"


def _check_digits(argument: str) -> None:
    """Refuse a number that Python takes for an attack, which Hydra does not expect.

    Raises:
        ConfigError: for one of thousands of digits.
    """
    try:
        OverridesParser.create().parse_overrides([argument])
    except HydraException:
        return  # Composing reports what is wrong, if anything is.
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{argument[:60]}...: {str(error).partition(';')[0]}") from error


def _value(name: str, typed: str, *, sweeps: bool) -> str:
    """Return a value as it is, or quoted where it can only be meant as a text."""
    takes_a_list = _texts().get(name)
    if takes_a_list is None or _is_text_already(name, typed, takes_a_list, sweeps=sweeps):
        return typed
    return quoted(str(at_home(typed)))


def quoted(text: str) -> str:
    """Return a text as Hydra reads it unchanged."""
    return QuotedString(text, Quote.single).with_quotes()


def _is_text_already(name: str, typed: str, takes_a_list: bool, *, sweeps: bool) -> bool:  # noqa: FBT001
    """Return whether Hydra reads a value as this setting needs it, or as null, or as a sweep."""
    try:
        (override,) = OverridesParser.create().parse_overrides([f"{name}={typed}"])
    except (HydraException, ValueError, RecursionError):
        return False
    if override.is_sweep_override():
        return sweeps
    value = override.value()
    return value is None or isinstance(value, str) or (takes_a_list and isinstance(value, list))


@cache
def _texts() -> dict[str, bool]:
    return dict(texts())
