"""Bare words: `rlhf data FILE` is that file as what it is; elsewhere a word gets its remedy."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rlhf.catalog.stages import REWARD_MODEL, STAGES, STAGES_OF
from rlhf.checkpoint.run import RUN_FILE
from rlhf.cli.compose import group_folders
from rlhf.cli.data_curve import COMMAND as CURVE
from rlhf.cli.overrides import FLAGS, SWEEPS, for_hydra, quoted
from rlhf.config.commands import PREVIEW
from rlhf.config.data import DataConfig
from rlhf.errors import ConfigError

_ALONE = (*SWEEPS, "--resolve", "--run", "-r", "--hydra-help")
"""Flags without a value behind them."""
_READING = ("data.columns=", "data.columns.", "data.prompt_template=")
"""Settings that say how a file's columns are read."""


def settings_of(command: str, words: Sequence[str]) -> list[str]:
    """Return a command line in which every bare word is a setting.

    Raises:
        ConfigError: for a word that is none, with what may be meant.
        DataError: for a file that cannot be read.
    """
    bare = _bare(words)
    settings = [word for index, word in enumerate(words) if index not in bare]
    files: dict[str, list[str]] = {}
    for word in (words[index] for index in bare):
        if command != PREVIEW or not _is_source(word):
            raise ConfigError(f"{word}: not a setting; {_meant(command, word)}")
        files.setdefault(_kind_of(word, settings), []).append(word)
    return [*settings, *(_named(kind, paths, settings) for kind, paths in files.items())]


def _bare(words: Sequence[str]) -> list[int]:
    """Return which words are no KEY=VALUE, no flag, and no value of a flag."""
    return [
        index
        for index, word in enumerate(words)
        if "=" not in word
        and not word.startswith(("-", "~"))
        and not (index and words[index - 1] in FLAGS and words[index - 1] not in _ALONE)
    ]


def _is_source(word: str) -> bool:
    # Reading imports libraries that take a second, which no other command line waits for.
    from rlhf.data.document_folder import suffix_of
    from rlhf.data.rows import SUFFIXES

    place = Path(word).expanduser()
    return place.exists() or suffix_of(place) in SUFFIXES or word.startswith("packaged:")


def _kind_of(word: str, settings: Sequence[str]) -> str:
    from rlhf.data.kinds import columns_for, kind_of

    config = _reading(settings)
    if config is None:
        return "demonstrations"  # Composing reports what is wrong with the settings.
    path = str(Path(word).expanduser()) if not word.startswith("packaged:") else word
    kind = kind_of(path, config)
    if kind is None:
        typed = "" if config.columns or config.prompt_template else columns_for(path)
        raise ConfigError(
            f"{word}: its columns do not say what it is; name it, such as rlhf data "
            f"data.demonstrations={word} (or data.preferences, data.prompts)"
            + (f", or type behind the same command: {typed}" if typed else "")
        )
    sys.stderr.write(
        f"rlhf: {word} is shown as data.{kind}; as another kind: rlhf data data.KIND={word}\n"
    )
    return kind


def _reading(settings: Sequence[str]) -> DataConfig | None:
    """Return what is typed of how rows are read; None where it is not valid."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException
    from pydantic import ValidationError

    columns: dict[str, object] = {}
    template: object = None
    try:
        typed = [word for word in settings if word.lstrip("+").startswith(_READING)]
        for found in OverridesParser.create().parse_overrides(for_hydra(typed, ())):
            name, value = found.key_or_group, found.value()
            if name == "data.prompt_template":
                template = value
            elif name == "data.columns":
                columns |= value if isinstance(value, dict) else {"": value}
            else:
                columns[name.removeprefix("data.columns.")] = value
        return DataConfig.model_validate({"columns": columns, "prompt_template": template})
    except (HydraException, ValidationError, ValueError, RecursionError):
        return None


def _named(kind: str, paths: Sequence[str], settings: Sequence[str]) -> str:
    setting = f"data.{kind}"
    if any(word.lstrip("+").startswith(f"{setting}=") for word in settings):
        raise ConfigError(f"{paths[0]}: is {kind} as well as {setting}; name both in {setting}")
    if len(paths) == 1:
        return f"{setting}={paths[0]}"
    return f"{setting}=[{','.join(quoted(path) for path in paths)}]"


def _meant(command: str, word: str) -> str:
    """Return what a word may be meant for."""
    groups = [folder.name for folder in group_folders() if (folder / f"{word}.yaml").is_file()]
    if groups:
        return f"is {groups[0]}={word} meant?"
    if (Path(word) / RUN_FILE).is_file():
        return f"the folder of a run is named run_dir={word}"
    if Path(word).exists():
        (stage, *_) = STAGES_OF.get(REWARD_MODEL.name if command == CURVE else command, STAGES)
        return f"data are named by their kind, such as data.{stage.reads}={word}"
    return f"give KEY=VALUE or GROUP=NAME; see rlhf {command} --help"
