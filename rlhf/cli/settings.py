"""Settings: the overrides of a command line, given from Python, become a checked Experiment."""

from __future__ import annotations

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlhf.cli.compose import groups, resolved, schema, without_advice
from rlhf.cli.overrides import for_hydra
from rlhf.commands.evaluated import as_the_run_had
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.config.rates import rate
from rlhf.errors import ConfigError
from rlhf.plugin import shipped


def compose_settings(command: str, overrides: Sequence[str]) -> Experiment:
    """Compose and check the settings of one run, as `rlhf COMMAND OVERRIDES` would.

    Raises:
        ConfigError: for a word that is no setting, a setting with several values, all that Hydra
            cannot compose, and all that the checks of the settings find.
    """
    _check_words(overrides)
    OmegaConf.register_new_resolver("rate", rate, replace=True)
    asked = for_hydra(overrides, groups())
    own = as_the_run_had(schema(), overrides) if command == "evaluate" else schema()
    ConfigStore.instance().store(name="schema", node=own)
    try:
        with initialize_config_dir(config_dir=str(shipped("conf")), version_base="1.3"):
            mapping = resolved(compose("config", overrides=asked))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(without_advice(str(error))) from error
    return load(mapping)


def _check_words(overrides: Sequence[str]) -> None:
    """Refuse what only a command line can do with a word.

    Raises:
        ConfigError: for a flag, a setting of Hydra's own, and several values.
    """
    for word in overrides:
        if word.startswith(("-", "hydra")) or not ("=" in word or word.startswith("~")):
            raise ConfigError(f"{word}: not a setting; give KEY=VALUE or GROUP=NAME")
    for word, passed in zip(overrides, for_hydra(overrides, groups()), strict=True):
        try:
            (override,) = OverridesParser.create().parse_overrides([passed])
        except HydraException as error:
            raise ConfigError(f"{word}: {without_advice(str(error))}") from error
        if override.is_sweep_override():
            raise ConfigError(
                f"{word}: several values are for a sweep (rlhf COMMAND -m); from Python, load one "
                "configuration for each"
            )
