"""Completion: shells ask for the rest of a word; Hydra knows the settings, this the commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence
from contextlib import redirect_stderr
from io import StringIO

import hydra
from hydra.core.config_store import ConfigStore

from rlhf.cli.compose import schema
from rlhf.errors import ConfigError
from rlhf.plugin import shipped

FLAGS = ("-sc", "--shell-completion")
VERBS = ("install", "uninstall", "query")
SHELLS = ("bash", "fish", "zsh")
UNSET = ("reproduce",)
"""Commands whose next word is no setting; the shell proposes files."""
BEFORE = ("doctor", "submit")
"""Commands that another command may follow."""
USAGE = 'type `eval "$(rlhf -sc install=bash)"`, or put that into ~/.bashrc'


def complete(arguments: Sequence[str], commands: Collection[str]) -> None:
    """Answer a shell: print its script (install=SHELL), or proposals for COMP_LINE (query=SHELL).

    Args:
        arguments: The command line, with one of FLAGS in it.
        commands: Names of all commands.

    Raises:
        ConfigError: when what is asked is not VERB=SHELL.
    """
    asked = [word.partition("=") for word in arguments if word.partition("=")[0] in VERBS]
    if len(asked) != 1 or asked[0][2] not in SHELLS:
        raise ConfigError(
            f"{' '.join(arguments)}: legal: -sc {'|'.join(VERBS)}={'|'.join(SHELLS)}; {USAGE}"
        )
    verb, _, shell = asked[0]
    if verb == "query":
        line = os.environ.get("COMP_LINE", "")
        words = line.split()[1:]
        rest = words if not line or line[-1].isspace() else words[:-1]
        while rest and rest[0] in BEFORE:
            words, rest = words[1:], rest[1:]
        if not rest:
            typed = words[0] if words else ""
            sys.stdout.write(f"{' '.join(name for name in commands if name.startswith(typed))}\n")
            return
        if rest[0] in UNSET or rest[0] not in commands:
            return
        # Hydra drops the first word, the program, and takes all others for settings.
        os.environ["COMP_LINE"] = " ".join(["rlhf", *words[1:], *([""] if rest == words else [])])
    _ask_hydra(verb, shell)


def _ask_hydra(verb: str, shell: str) -> None:
    ConfigStore.instance().store(name="schema", node=schema())
    argv, sys.argv = sys.argv, ["rlhf", FLAGS[0], f"{verb}={shell}"]
    wrapped = hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")
    try:
        # Words that no setting can be made of: there is nothing to propose, and nothing to say.
        with redirect_stderr(StringIO()):
            wrapped(lambda config: None)()
    except SystemExit:
        return
    finally:
        sys.argv = argv
