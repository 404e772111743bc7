"""Multirun: what Hydra composes with -m becomes the trials of a sweep, each in its own folder."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT, TRAINING
from rlhf.cli.overrides import quoted
from rlhf.config.experiment import Experiment, RunMode
from rlhf.config.load import load
from rlhf.errors import ConfigError, RLHFError

if TYPE_CHECKING:
    from rlhf.sweeps.sweep import Sweep

COMPARED = (*TRAINING, "evaluate")
"""Commands whose trials leave something to compare; others run once a combination."""
LONGEST_NAME = 200
"""Letters of a trial's folder; most file systems take 255."""


class Multirun:
    """One command line with -m; a context that ends what its trials share."""

    def __init__(self, command: str, fixed: Sequence[str]) -> None:
        """Keep the keys that have one value for all trials; the other keys name the trials."""
        self._command, self._fixed = command, fixed
        self._open = ExitStack()
        self._sweep: Sweep | None = None
        self._errors: list[RLHFError] = []

    def take(
        self, mapping: dict[str, Any], overrides: Sequence[str], *, is_grid: bool
    ) -> float | None:
        """Add one combination: a grid's is run at the end, a search's at once.

        Args:
            mapping: The composed configuration.
            overrides: The values chosen for it, `key=value` as Hydra has them.
            is_grid: Whether all combinations are known beforehand.

        Returns:
            The figure that a search maximizes.

        Raises:
            ConfigError: when no trial of this command line can run as asked.
        """
        settings = swept_settings(overrides, self._fixed)
        if "run_dir" in settings:
            raise ConfigError(
                "run_dir cannot be swept, as every trial has a folder of its own inside it; "
                "give it one value"
            )
        folder = Path(str(mapping["run_dir"]))
        name = trial_name(settings)
        started = own_reward_models(handed_down(self._command, mapping), folder / name)
        started["run_dir"] = str(folder / name)
        if self._command not in COMPARED:
            return self._run(name, started)
        sweep = self._opened(folder, str(mapping["run_mode"]))
        try:
            experiment = _without_restarts(load(started))
        except ConfigError as error:
            sweep.refuse(name, settings, error)
            return None
        trial = self._trial(name, settings, overrides, experiment)
        return sweep.add(trial) if is_grid else sweep.search(trial)

    def finish(self) -> None:
        """Run the trials of a grid.

        Raises:
            RLHFError: the first failure, after all trials were tried.
        """
        if self._sweep is not None:
            self._sweep.run()
            self._sweep.raise_failure()
        if self._errors:
            raise self._errors[0]

    def _opened(self, folder: Path, mode: str) -> Sweep:
        if self._sweep is None:
            # Torch and transformers take seconds to import; single runs report faults before.
            from rlhf.checkpoint.mode import UMASKS, readable_by
            from rlhf.sweeps.sweep import Sweep

            known: dict[str, RunMode] = {each: each for each in UMASKS}
            # Another word is refused by every trial.
            self._open.enter_context(readable_by(known.get(mode, "private")))
            self._sweep = self._open.enter_context(Sweep(self._command, folder))
        return self._sweep

    def _trial(
        self, name: str, settings: dict[str, str], overrides: Sequence[str], experiment: Experiment
    ) -> Any:
        from rlhf.sweeps.trial import Trial

        shared = [word.lstrip("+") for word in overrides]
        typed = [word for word in shared if not word.startswith("run_dir=")]
        return Trial(
            command=self._command,
            name=name,
            settings=settings,
            typed=[*typed, f"run_dir={quoted(experiment.run_dir)}"],
            experiment=experiment,
        )

    def _run(self, name: str, mapping: Mapping[str, object]) -> float | None:
        """Run a command that leaves nothing to compare."""
        from rlhf.commands.table import run_command

        try:
            return run_command(self._command, load(mapping))
        except RLHFError as error:
            self._errors.append(error)
            sys.stderr.write(f"rlhf: {name}: {error}\n")
            return None

    def __enter__(self) -> Self:
        """Return the sweep; leaving the block ends what its trials share."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the shared cluster; show the trials' table."""
        self._open.close()


def _without_restarts(experiment: Experiment) -> Experiment:
    if experiment.cluster.max_restarts:
        raise ConfigError(
            f"cluster.max_restarts={experiment.cluster.max_restarts} is for a single run: the same "
            "sweep again goes on with its unfinished trials; leave it at 0"
        )
    return experiment


def swept_settings(overrides: Sequence[str], fixed: Sequence[str]) -> dict[str, str]:
    """Return what a trial changes, by dotted path, as typed."""
    pairs = (word.lstrip("+").partition("=")[::2] for word in overrides)
    return {key: value for key, value in pairs if key not in fixed}


def trial_name(settings: Mapping[str, str]) -> str:
    """Name a trial's folder by what it changes, so that the same sweep finds its runs again."""
    name = ",".join(f"{key}={value}" for key, value in settings.items()).replace("/", "_")
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = f"{name[: LONGEST_NAME - 13]}-{digest}"
    return name or "trial"


def handed_down(command: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of trials that start from models beside their folders.

    As a single run goes on from the SFT and the reward model in its own folder, the trials of a
    sweep go on from those in the folder of the sweep.
    """
    policy, reward_model = dict(mapping["policy"]), dict(mapping[REWARD_MODEL.name])
    folder = Path(str(mapping["run_dir"]))
    sft, scores = folder / SFT.folder, folder / REWARD_MODEL.folder
    if command in (REWARD_MODEL.name, PPO.name) and policy["path"] is None and _is_model(sft):
        policy |= {"path": str(sft), "new": None}
    asked = (reward_model["path"], mapping["reward"]["function"], mapping["reward"]["sources"])
    is_judged = any(source is not None for source in asked)
    if command == PPO.name and not is_judged and _is_model(scores):
        reward_model |= {"path": str(scores)}
    return {**mapping, "policy": policy, REWARD_MODEL.name: reward_model}


def own_reward_models(mapping: Mapping[str, Any], trial: Path) -> dict[str, Any]:
    """Return a trial's configuration, in which RUN/reward_model is in the trial's own folder.

    `${run_dir}` was the folder of the sweep; a reward model that lies there is meant as it is.
    """
    reward = dict(mapping["reward"])
    shared = Path(str(mapping["run_dir"])) / REWARD_MODEL.folder
    if isinstance(reward["sources"], list) and not _is_model(shared):
        reward["sources"] = [_moved(entry, shared, trial) for entry in reward["sources"]]
    return {**mapping, "reward": reward}


def _moved(entry: object, shared: Path, trial: Path) -> object:
    if not isinstance(entry, dict):
        return entry  # Loading reports what is wrong.
    source = cast("dict[str, object]", entry)
    if not isinstance(source.get("model"), str) or Path(str(source["model"])) != shared:
        return source
    return {**source, "model": str(trial / REWARD_MODEL.folder)}


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file()
