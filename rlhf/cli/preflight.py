"""Preflight: all that can be told wrong before a folder is made or a process is started."""

from __future__ import annotations

from rlhf.cluster.reach import check_reach
from rlhf.config.commands import StageName, roles_of
from rlhf.config.experiment import Experiment
from rlhf.errors import ModelError
from rlhf.models.weights import check_weights
from rlhf.stages.inputs import Inputs


def preflight(experiment: Experiment, stages: list[StageName], inputs: Inputs) -> None:
    """Check the cluster and every model that the stages will load.

    Raises:
        ConfigError: when the cluster is not there, or too small.
        ModelError: one line for each model that cannot serve.
    """
    check_reach(experiment.cluster, roles_of(stages, experiment))
    wanted: list[tuple[str | None, bool]] = [(inputs.start, False)]
    if "ppo" in stages:
        wanted.append((experiment.reference.path, False))
        wanted.append((experiment.reward_model.path, True))
        wanted.append((experiment.value.path, True))
    problems = [
        problem
        for path, scored in wanted
        if path is not None and not path.endswith(".gguf")
        for problem in _problems(path, scored=scored)
    ]
    if problems:
        raise ModelError("\n".join(dict.fromkeys(problems)))


def _problems(path: str, *, scored: bool) -> list[str]:
    try:
        check_weights(path, scored=scored)
    except ModelError as error:
        return [str(error)]
    return []
