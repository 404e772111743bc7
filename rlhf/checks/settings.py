"""Checks of the settings alone, and of the packages installed here."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from rlhf import __version__
from rlhf.algo.estimators import find_estimator
from rlhf.catalog.stages import PPO
from rlhf.checks.context import CheckContext
from rlhf.config.commands import missing
from rlhf.config.stages import PPOConfig
from rlhf.engine.zero_raw import check_raw
from rlhf.errors import ConfigError
from rlhf.observe.manifest import versions


def check_packages(context: CheckContext) -> str:
    """Report the versions of all packages.

    Raises:
        ConfigError: naming those that are not installed.
    """
    del context
    found = versions()
    absent = [name for name, version in found.items() if version == "not installed"]
    if absent:
        raise ConfigError(f"{', '.join(absent)} not installed; `make .venv` installs the lock")
    own = {"rlhf": __version__, "python": platform.python_version()}
    return ", ".join(f"{name} {version}" for name, version in {**own, **found}.items())


def check_settings(context: CheckContext) -> str:
    """Report which stages would run.

    Raises:
        ConfigError: naming every setting the command needs and has not, and an advantage estimator
            that is unknown, learns nothing from so few samples, or has no value role to wait for;
            and what DeepSpeed refuses of engine.deepspeed.
    """
    problems = list(missing(context.command, context.experiment))
    if PPO in context.stages:
        problems += _estimator(context.experiment.ppo)
    if problems:
        raise ConfigError("\n".join(problems))
    check_raw(context.experiment.engine)
    return f"{context.command} would run {', '.join(stage.name for stage in context.stages)}"


def _estimator(ppo: PPOConfig) -> Iterator[str]:
    try:
        estimator = find_estimator(ppo.advantage_estimator)
    except ConfigError as error:
        yield str(error)
        return
    if ppo.samples_per_prompt < estimator.min_samples:
        yield (
            f"ppo.advantage_estimator={ppo.advantage_estimator} compares the responses to one "
            f"prompt, but ppo.samples_per_prompt={ppo.samples_per_prompt}; "
            f"legal: {estimator.min_samples} or more"
        )
    if ppo.value_warmup_steps and not estimator.reads_values:
        yield (
            f"ppo.value_warmup_steps={ppo.value_warmup_steps} lets the policy wait for a value "
            f"role, and ppo.advantage_estimator={ppo.advantage_estimator} has none; legal: 0"
        )
