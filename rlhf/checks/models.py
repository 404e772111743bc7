"""Whether every model the stages load is there, whole, of the right kind, and really trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from rlhf.catalog.stages import REWARD_MODEL, STAGES
from rlhf.checkpoint.artifact import START, read_artifact, verify
from rlhf.checkpoint.finished import check_all_finished
from rlhf.checks.context import CheckContext, reward_models
from rlhf.data.problems import Faults
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.errors import CheckpointError, ModelError
from rlhf.models.folder import check_folder
from rlhf.models.head import check_head
from rlhf.models.weights import check_weights
from rlhf.observe.numbers import counted

WRITERS = (START, *(stage.folder for stage in STAGES if stage.gives == "policy"))
SCORERS = (REWARD_MODEL.folder, "value")
"""Kinds of finished folders that may serve as a language model, and as a scalar model."""


def check_folders(context: CheckContext) -> str:
    """Check the files of every model folder, before a tokenizer is read from one.

    Raises:
        ModelError: one line for each folder with damaged files, or an impossible config.
    """
    paths = dict.fromkeys(context.models.values())
    _raise_all(partial(check_folder, path) for path in paths)
    return f"{len(paths)} to load"


def check_models(context: CheckContext) -> str:
    """Check every model that a stage will load.

    Raises:
        ModelError: one line for each model that cannot be used.
        CheckpointError: when a folder that a stage made is damaged, or of another kind.
    """
    wanted = [(path, name in scored(context)) for name, path in context.models.items()]
    _raise_all(partial(check_weights, path, scored=ends) for path, ends in dict.fromkeys(wanted))
    faults = Faults()
    for path, ends in dict.fromkeys(wanted):
        faults.of(partial(_check_handed_over, path, scored=ends))
    faults.check()
    return ", ".join(f"{name}={path}" for name, path in context.models.items()) or _start(context)


def check_finished(context: CheckContext) -> str:
    """Check every file of the models that the run's folder has already.

    Raises:
        CheckpointError: one line for each file that is damaged or gone, of all of them.
    """
    count = check_all_finished(Path(context.experiment.run_dir))
    return f"{counted(count, 'model')} of this run, whole" if count else "the run has no model yet"


def check_reward_head(context: CheckContext) -> str:
    """Check the numbers of every reward model's head.

    Raises:
        ModelError: when one was not trained.
        CheckpointError: when the record of one, made by a stage of ours, has it as untrained.
    """
    paths = dict.fromkeys(reward_models(context).values())
    if not paths:
        return "no trained reward model is given"
    return "; ".join(_head(path) for path in paths)


def _head(path: str) -> str:
    artifact = read_artifact(Path(path))
    if artifact is not None and not artifact.head_trained:
        raise CheckpointError(f"{path}: by its record, its head was never trained")
    return check_head(path)


def _raise_all(checks: Iterable[Callable[[], None]]) -> None:
    """Check every path, then raise one ModelError with all faults."""
    problems: list[str] = []
    for look in checks:
        try:
            look()
        except ModelError as error:
            problems.append(str(error))
    if problems:
        raise ModelError("\n".join(dict.fromkeys(problems)))


def scored(context: CheckContext) -> set[str]:
    """Return the settings that name a model with a scalar head."""
    return {*reward_models(context), "value.path"}


def _check_handed_over(path: str, *, scored: bool) -> None:
    """Check a folder that a stage of ours made: whole, of the right kind, with its own tokenizer.

    Raises:
        CheckpointError: when it is not; a folder made by other software passes.
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


def _start(context: CheckContext) -> str:
    start = context.start
    return "a new one is made" if start is None else f"policy.path={start}, which is converted"
