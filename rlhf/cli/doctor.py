"""Doctor: checks a run before it costs anything; one line a check."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from rlhf.config.commands import missing, stages_of
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError, RLHFError
from rlhf.models.pretrained import load_scalar
from rlhf.observe.manifest import versions
from rlhf.stages.inputs import Inputs, load_inputs

LEAST_FREE_GIB = 2.0


def examine(experiment: Experiment) -> None:
    """Print one line a check.

    Raises:
        ConfigError: naming how many checks failed.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("packages", _packages),
        ("cores", lambda: _cores(experiment)),
        ("disk", lambda: _disk(experiment)),
        ("settings", lambda: _settings(experiment)),
        ("data and tokenizer", lambda: _data(experiment)),
        ("reward model", lambda: _reward_model(experiment)),
    ]
    failures = sum(not _passes(name, check) for name, check in checks)
    if failures:
        raise ConfigError(f"{failures} of {len(checks)} checks failed")


def _passes(name: str, check: Callable[[], str]) -> bool:
    try:
        print(f"ok    {name}: {check()}")  # noqa: T201 - the command's answer
    except RLHFError as error:
        for line in str(error).splitlines():
            print(f"FAIL  {name}: {line}")  # noqa: T201 - the command's answer
        return False
    return True


def _packages() -> str:
    found = versions()
    absent = [name for name, version in found.items() if version == "not installed"]
    if absent:
        raise ConfigError(f"{', '.join(absent)} not installed; `make .venv` installs the lock")
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _cores(experiment: Experiment) -> str:
    cores, cluster = len(os.sched_getaffinity(0)), experiment.cluster
    wanted = max(
        p.ranks for p in (cluster.policy, cluster.reference, cluster.reward, cluster.value)
    )
    if wanted > cores and not cluster.oversubscribe and cluster.address in ("auto", "local"):
        raise ConfigError(
            f"a role has {wanted} ranks, this machine {cores} cores; lower cluster.*.ranks"
        )
    return f"{cores} cores, {wanted} ranks in the largest role"


def _disk(experiment: Experiment) -> str:
    folder = Path(experiment.run_dir).absolute()
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"run_dir={experiment.run_dir}: {folder} cannot be written to")
    free = shutil.disk_usage(folder).free / 2**30
    if free < LEAST_FREE_GIB:
        raise ConfigError(f"{folder} has {free:.1f} GiB free; a run wants {LEAST_FREE_GIB:g}")
    return f"{free:.0f} GiB free at {folder}"


def _settings(experiment: Experiment) -> str:
    problems = list(missing("pipeline", experiment))
    if problems:
        raise ConfigError("\n".join(problems))
    return f"the pipeline would run {', '.join(stages_of('pipeline', experiment))}"


def _data(experiment: Experiment) -> str:
    stages = stages_of("pipeline", experiment)
    inputs: Inputs = load_inputs(experiment, stages, experiment.policy.path)
    tokenizer = inputs.tokenizer
    rows = ", ".join(f"{count:,} {kind}" for kind, count in inputs.rows().items())
    template = "a chat template" if tokenizer.chat_template else "no chat template"
    return f"{rows}; {len(tokenizer):,} tokens, EOS {tokenizer.eos_token!r}, {template}"


def _reward_model(experiment: Experiment) -> str:
    path = experiment.reward_model.path
    if path is None:
        return "none given"
    load_scalar(path, "trained")
    return f"{path} has a trained head"
