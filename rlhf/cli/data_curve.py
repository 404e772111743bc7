"""`rlhf data curve`: reward models of growing shares of the rankings, and what more would bring."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from rlhf.catalog.stages import REWARD_MODEL
from rlhf.cli.multirun import handed_down
from rlhf.cli.overrides import quoted
from rlhf.config.commands import missing
from rlhf.config.data import SourceConfig
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.errors import ConfigError
from rlhf.observe.console import Console

COMMAND: Final = "data curve"
SHARES: Final = (8, 4, 2, 1)
"""Trials learn from one in so many of the rankings; the hash of a row decides, so that a larger
share holds the smaller ones."""


def run_curve(mapping: Mapping[str, Any]) -> None:
    """Train the reward models, and say what the curve of their accuracies means.

    Args:
        mapping: the composed configuration.

    Raises:
        ConfigError: when there are no rankings, none to measure by, or some that count twice.
        RLHFError: what a trial failed with, after all were tried.
    """
    experiment = load(handed_down(REWARD_MODEL.name, mapping))
    _check(experiment)
    # Torch and transformers take seconds to import; a wrong setting is reported before that.
    from rlhf.checks.context import CheckContext
    from rlhf.checks.preflight import preflight
    from rlhf.sweeps import data_curve
    from rlhf.sweeps.sweep import Sweep

    folder = Path(experiment.run_dir) / data_curve.FOLDER
    trials = [_trial(experiment, folder, share) for share in SHARES]
    # Of the largest one's folder: a run in run_dir stays what it is, whatever its settings.
    preflight(CheckContext(REWARD_MODEL.name, trials[-1].experiment))
    with Sweep(REWARD_MODEL.name, folder) as sweep:
        for trial in trials:
            sweep.add(trial)
        sweep.run()
    found = [data_curve.point_of(trial.folder) for trial in trials]
    points = [point for point in found if point is not None]
    gain = data_curve.fit(points)
    console = Console(live=False)
    console.table("Accuracy by rankings learned from", *data_curve.table_of(points))
    console.note(f"more rankings: {data_curve.told(points, gain)}")
    console.note(f"curve: {data_curve.write_curve(folder, points, gain)}")
    sweep.raise_failure()


def _check(experiment: Experiment) -> None:
    data = experiment.data
    faults = list(missing(REWARD_MODEL.name, experiment))
    if not (data.test_preferences or data.test_fraction or data.validation_fraction):
        faults.append(
            "no rankings are held out to measure by; set data.test_fraction=0.1, or "
            "data.test_preferences=FILE.jsonl"
        )
    faults += [
        f"data.preferences: {source.path} has weight={source.weight:g}; a curve counts each "
        "ranking once, so weights are at most 1"
        for source in data.sources(REWARD_MODEL.reads)
        if source.weight > 1
    ]
    if faults:
        raise ConfigError("\n".join(faults))


def _trial(experiment: Experiment, folder: Path, share: int) -> Any:
    from rlhf.sweeps.trial import Trial

    name = f"1_of_{share}"
    sources = [
        source.model_copy(update={"weight": source.weight / share})
        for source in experiment.data.sources(REWARD_MODEL.reads)
    ]
    data = experiment.data.model_copy(update={REWARD_MODEL.reads: sources})
    own = {"data": data, "run_dir": str(folder / name)}
    return Trial(
        command=REWARD_MODEL.name,
        name=name,
        settings={"rankings": f"1/{share}" if share > 1 else "all"},
        typed=[*_typed(experiment, sources), f"run_dir={quoted(str(folder / name))}"],
        experiment=experiment.model_copy(update=own),
    )


def _typed(experiment: Experiment, sources: list[SourceConfig]) -> Iterator[str]:
    """Yield the settings that make a trial by itself, in place of those that were typed."""
    setting = f"data.{REWARD_MODEL.reads}"
    path, new = experiment.policy.path, experiment.policy.new
    own = ("run_dir=", f"{setting}=", "policy.path=", *(["policy.new"] if new is None else []))
    yield from (w for w in (word.lstrip("+") for word in sys.argv[1:]) if not w.startswith(own))
    if path is not None:
        yield f"policy.path={quoted(path)}"
        yield "policy.new=null"
    yield f"{setting}=[{','.join(_written(source.model_dump()) for source in sources)}]"


def _written(value: object) -> str:
    """Return a value as Hydra reads it on a command line."""
    if isinstance(value, dict):
        known = [(name, entry) for name, entry in value.items() if entry is not None]
        return f"{{{','.join(f'{name}:{_written(entry)}' for name, entry in known)}}}"
    return quoted(value) if isinstance(value, str) else str(value)
