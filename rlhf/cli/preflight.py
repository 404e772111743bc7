"""Preflight: all that can be told wrong before a folder is made or a process is started."""

from __future__ import annotations

from pathlib import Path

from rlhf.algo.estimators import find_estimator
from rlhf.checkpoint.artifact import read_artifact, verify
from rlhf.cluster.reach import check_reach
from rlhf.config.cluster import RoleName
from rlhf.config.commands import StageName, roles_of
from rlhf.config.experiment import Experiment
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.engine.zero_raw import check_raw
from rlhf.errors import CheckpointError, ConfigError, ModelError
from rlhf.models.weights import check_weights
from rlhf.stages.inputs import Inputs

WRITERS, SCORERS = ("policy", "sft"), ("reward_model", "value")
"""Kinds of finished folders that may serve as a language model, and as a scalar model."""


def preflight(experiment: Experiment, stages: list[StageName], inputs: Inputs) -> None:
    """Check the cluster and every model that the stages will load.

    Raises:
        ConfigError: when the cluster is not there, or too small; when the advantage estimator is
            unknown, learns nothing from so few samples a prompt, or has no value role to wait for;
            when DeepSpeed refuses engine.deepspeed.
        ModelError: one line for each model that cannot serve.
        CheckpointError: when a folder that a stage made is damaged, or of another kind.
    """
    if "ppo" in stages:
        _check_estimator(experiment)
    check_raw(experiment.engine)
    check_reach(experiment.cluster, company_of(stages, experiment))
    wanted: list[tuple[str | None, bool]] = [(inputs.start, False)]
    if "ppo" in stages:
        wanted.append((experiment.reference.path, False))
        wanted.append((experiment.reward_model.path, True))
        wanted.append((experiment.value.path, True))
    given = [(path, scored) for path, scored in wanted if path and not path.endswith(".gguf")]
    problems = [problem for path, scored in given for problem in _problems(path, scored=scored)]
    if problems:
        raise ModelError("\n".join(dict.fromkeys(problems)))
    for path, scored in given:
        _check_handed_over(path, scored=scored)


def company_of(stages: list[StageName], experiment: Experiment) -> list[RoleName]:
    """Return the roles whose processes the stages need, by what the advantages are made of."""
    reads_values = find_estimator(experiment.ppo.advantage_estimator).reads_values
    return roles_of(stages, experiment, reads_values=reads_values)


def _check_estimator(experiment: Experiment) -> None:
    ppo = experiment.ppo
    estimator = find_estimator(ppo.advantage_estimator)
    if ppo.samples_per_prompt < estimator.min_samples:
        raise ConfigError(
            f"ppo.advantage_estimator={ppo.advantage_estimator} compares the responses to one "
            f"prompt, but ppo.samples_per_prompt={ppo.samples_per_prompt}; "
            f"legal: {estimator.min_samples} or more"
        )
    if ppo.value_warmup_steps and not estimator.reads_values:
        raise ConfigError(
            f"ppo.value_warmup_steps={ppo.value_warmup_steps} lets the policy wait for a value "
            f"role, and ppo.advantage_estimator={ppo.advantage_estimator} has none; legal: 0"
        )


def _problems(path: str, *, scored: bool) -> list[str]:
    try:
        check_weights(path, scored=scored)
    except ModelError as error:
        return [str(error)]
    return []


def _check_handed_over(path: str, *, scored: bool) -> None:
    """Check a folder that a stage of ours made: whole, of the right kind, with its own tokenizer.

    Raises:
        CheckpointError: when it is not; a folder made by other software is not asked.
    """
    folder = Path(path)
    if read_artifact(folder) is None:
        return
    artifact, kinds = verify(folder), SCORERS if scored else WRITERS
    if artifact.kind not in kinds:
        raise CheckpointError(
            f"{path} is a {artifact.kind}; what is wanted here is one of: {', '.join(kinds)}"
        )
    if artifact.tokenizer_sha256 != fingerprint(load_tokenizer(path)):
        raise CheckpointError(
            f"{path}: its tokenizer or chat template is not the one it was trained with; put the "
            "files of its training back"
        )
