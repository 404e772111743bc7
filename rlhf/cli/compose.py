"""Compose: command-line overrides and YAML files become one checked Experiment; the door to Hydra.

The defaults come from the typed models, so Hydra knows every key. Values given on the command line
are passed as `++key=value`, so that an unknown key reaches the models, which report all faults at
once and name the nearest legal key; Hydra alone would stop at the first.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.errors import ConfigError, RLHFError

PASSED_TO_HYDRA = ("-", "+", "~", "hydra.", "hydra/")


def conf_folder() -> Path:
    """Return the folder of YAML files: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


def groups() -> list[str]:
    """Return the names of the configuration groups, such as recipe and peft."""
    return sorted(path.name for path in conf_folder().iterdir() if path.is_dir())


def as_hydra_override(argument: str) -> str:
    """Return one command-line argument in the form Hydra is to get it."""
    key, equals, _ = argument.partition("=")
    if not equals or argument.startswith(PASSED_TO_HYDRA) or key.partition("@")[0] in groups():
        return argument
    return f"++{argument}"


def compose_and_run(command: str, overrides: list[str]) -> None:
    """Compose, check and run; with -m, once for each combination.

    Raises:
        RLHFError: what the command raised; of a sweep, the first, after all its runs were tried.
        ConfigError: when Hydra cannot compose.
    """
    ConfigStore.instance().store(name="schema", node=Experiment().model_dump(mode="json"))
    failures: list[BaseException] = []
    entered: list[str] = []
    said, composing = StringIO(), ExitStack()

    def task(config: DictConfig) -> float | None:
        entered.append(command)
        composing.close()
        try:
            return _run(command, config)
        except (RLHFError, KeyboardInterrupt) as error:
            failures.append(error)
            if _is_sweep():
                sys.stderr.write(f"rlhf: {_trial_name()}: {error}\n")
            return None

    sys.argv = [f"rlhf {command}", *map(as_hydra_override, overrides)]
    wrapped = hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")
    composing.enter_context(redirect_stderr(said))
    try:
        wrapped(task)()
    except SystemExit as error:
        if error.code and not entered:
            raise ConfigError(_without_advice(said.getvalue())) from error
        raise
    finally:
        composing.close()
    if failures:
        raise failures[0]


def _without_advice(said: str) -> str:
    """Return what Hydra said of a fault on one line, without its advice to itself."""
    advice = ("See http", "Set the environment", "Config search path", "provider=")
    lines = [line.strip() for line in said.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(advice))


def _run(command: str, config: DictConfig) -> float | None:
    mapping = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    if _is_sweep():
        mapping["run_dir"] = f"{mapping['run_dir']}/{_trial_name()}"
    experiment = load(mapping)
    # Torch and transformers take seconds to import; a wrong setting is told before that.
    from rlhf.cli.commands import run_command

    return run_command(command, experiment)


def _is_sweep() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _trial_name() -> str:
    """Name a trial by what it changes, so that the same sweep finds its runs again."""
    settings = [word for word in sys.argv[1:] if "=" in word and not word.startswith("-")]
    swept = {
        override.key_or_group
        for override in OverridesParser.create().parse_overrides(settings)
        if override.is_sweep_override()
    }
    changes = [change.lstrip("+") for change in HydraConfig.get().overrides.task]
    chosen = [change for change in changes if change.partition("=")[0] in swept]
    return ",".join(chosen).replace("/", "_") or "trial"
