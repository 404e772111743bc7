"""Compose: command-line overrides and YAML files become one checked Experiment, through Hydra.

The defaults come from the typed models, so Hydra knows every key. A learning rate that depends on
peft.method is an interpolation there, so that `--cfg job` shows the resulting number.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlhf.cli.data_curve import COMMAND as CURVE
from rlhf.cli.data_curve import run_curve
from rlhf.cli.multirun import Multirun
from rlhf.cli.overrides import for_hydra
from rlhf.commands.evaluated import as_the_run_had
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.config.rates import LEARNERS, rate
from rlhf.errors import ConfigError, RLHFError
from rlhf.plugin import shipped

_ABSENT = re.compile(r"Could not find '([^'/]+)/([^']+)' Available options in '\1': (.*)")
"""What Hydra says of a choice that is not there, such as a recipe."""


def groups() -> list[str]:
    """Return the names of the configuration groups, such as recipe and peft."""
    return [path.name for path in group_folders()]


def group_folders() -> list[Path]:
    """Return the folders of the configuration groups."""
    return sorted(path for path in shipped("conf").iterdir() if path.is_dir())


def compose_and_run(command: str, overrides: list[str]) -> None:
    """Compose, check and run; with -m, once for each combination.

    Raises:
        RLHFError: what the command raised; of a sweep, after all its trials were tried.
        ConfigError: when Hydra cannot compose.
    """
    OmegaConf.register_new_resolver("rate", rate, replace=True)
    asked = [*for_hydra(overrides, groups()), *_for_the_search(overrides)]
    own = as_the_run_had(schema(), overrides) if command == "evaluate" else schema()
    ConfigStore.instance().store(name="schema", node=own)
    sys.argv = [f"rlhf {command}", *asked]
    with Multirun(command, _fixed(asked)) as multirun:
        errors = _compose(lambda config: _take(command, config, multirun))
        if errors:
            raise errors[0]
        multirun.finish()


def schema() -> dict[str, Any]:
    """Return every setting with its default."""
    found = Experiment().model_dump(mode="json")
    for name in LEARNERS:
        optimizer = found[name]["optimizer"]
        optimizer["lr"] = f"${{rate:{optimizer['lr']},${{peft.method}}}}"
    return found


def _compose(take: Callable[[DictConfig], float | None]) -> list[BaseException]:
    """Let Hydra compose, and call `take` on every configuration; return the errors it raised."""
    errors: list[BaseException] = []
    entered: list[DictConfig] = []
    output, composing = StringIO(), ExitStack()

    def task(config: DictConfig) -> float | None:
        entered.append(config)
        composing.close()
        try:
            return take(config)
        except (RLHFError, OSError, KeyboardInterrupt) as error:
            errors.append(error)
            # Hydra would go on to the next combination, and print an OSError as its own.
            raise SystemExit(1) from error

    wrapped = hydra.main(version_base="1.3", config_path=str(shipped("conf")), config_name="config")
    composing.enter_context(redirect_stderr(output))
    try:
        wrapped(task)()
    except SystemExit as error:
        if error.code and not entered:
            raise ConfigError(without_advice(output.getvalue())) from error
        if not errors:
            raise
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).replace("\n", " ")) from error
    finally:
        composing.close()
    return errors


def without_advice(output: str) -> str:
    """Return Hydra's error message on one line, without its hints on debugging Hydra."""
    advice = ("See http", "Set the environment", "Config search path", "provider=")
    lines = [line.strip() for line in output.splitlines()]
    if any(line.startswith("Traceback") for line in lines):
        return lines[-1]
    said = " ".join(line for line in lines if line and not line.startswith(advice))
    absent = _ABSENT.search(said)
    if absent is None:
        return said
    group, name, legal = absent[1], absent[2], absent[3].split()
    near = difflib.get_close_matches(name, legal, n=1)
    hint = f"nearest: {near[0]}; " if near else ""
    return f"{group}={name}: there is no such {group}; {hint}legal: {', '.join(legal)}"


def _take(command: str, config: DictConfig, multirun: Multirun) -> float | None:
    mapping = resolved(config)
    hydra_config = HydraConfig.get()
    if command == CURVE:
        _check_single(is_multirun=hydra_config.mode == RunMode.MULTIRUN)
        return run_curve(mapping)
    if hydra_config.mode == RunMode.MULTIRUN:
        is_grid = hydra_config.sweeper._target_.endswith(".BasicSweeper")
        return multirun.take(mapping, list(hydra_config.overrides.task), is_grid=is_grid)
    experiment = load(mapping)
    if experiment.sweep.parallel > 1:
        raise ConfigError(
            f"sweep.parallel={experiment.sweep.parallel} is for a sweep; add -m, and give a "
            "setting several values, or leave it at 1"
        )
    # Torch and transformers take seconds to import; a wrong setting is reported before that.
    from rlhf.commands.table import run_command

    return run_command(command, experiment)


def _check_single(*, is_multirun: bool) -> None:
    if is_multirun:
        raise ConfigError(
            f"rlhf {CURVE} is a sweep by itself; leave out -m, and give single values"
        )


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain values.

    Raises:
        ConfigError: naming every setting whose interpolation fails.
    """
    faults = list(_faults(config))
    if faults:
        raise ConfigError("\n".join(faults))
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))


def _faults(node: DictConfig | ListConfig, prefix: str = "") -> Iterator[str]:
    names = range(len(node)) if isinstance(node, ListConfig) else list(node.keys())
    for name in names:
        path = f"{prefix}{name}"
        raw = str(node._get_node(name))  # type: ignore[arg-type]
        try:
            value = cast("Any", node)[name]
        except Exception as error:  # noqa: BLE001 - a resolver may raise anything
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            yield f"{path}={raw} cannot be resolved: {reason}"
            continue
        if isinstance(value, DictConfig | ListConfig):
            yield from _faults(value, f"{path}.")


def _fixed(asked: list[str]) -> list[str]:
    """Return the keys on the command line that have one value; of a key given twice, the last."""
    settings = [word for word in asked if "=" in word and not word.startswith("-")]
    try:
        parsed = OverridesParser.create().parse_overrides(settings)
    except HydraException:
        return []  # Composing reports what is wrong.
    last = {override.key_or_group: override for override in parsed}
    return [key for key, override in last.items() if not override.is_sweep_override()]


def _for_the_search(overrides: list[str]) -> list[str]:
    """Return the override by which a search maximizes: of our figures, higher is better.

    Raises:
        ConfigError: when another launcher than this program is to start the trials.
    """
    chosen = {key: value for key, _, value in (word.partition("=") for word in overrides)}
    launcher = chosen.get("hydra/launcher", "basic")
    if launcher != "basic":
        raise ConfigError(
            f"hydra/launcher={launcher} is not used: trials run several at a time by "
            "sweep.parallel=N, on one Ray cluster; leave it out"
        )
    if chosen.get("hydra/sweeper") == "optuna" and "hydra.sweeper.direction" not in chosen:
        return ["hydra.sweeper.direction=maximize"]
    return []
