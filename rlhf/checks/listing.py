"""The list of all checks, in the order in which they are made."""

from __future__ import annotations

from functools import partial

from rlhf.checks.adapters import check_adapters
from rlhf.checks.check import Check, CheckWarning
from rlhf.checks.cluster import check_access, check_cluster, check_nodes
from rlhf.checks.context import CheckContext
from rlhf.checks.disk import check_disk, check_run_folder
from rlhf.checks.machine import check_machine
from rlhf.checks.models import (
    check_finished,
    check_folders,
    check_models,
    check_reward_head,
)
from rlhf.checks.reward import check_reward
from rlhf.checks.settings import check_packages, check_settings
from rlhf.checks.tokenizers import check_tokenizers
from rlhf.data.kinds import check_rows, given
from rlhf.data.problems import Faults, heard
from rlhf.stages.inputs import kinds_of


def check_data(context: CheckContext) -> str:
    """Read and tokenize every row.

    Raises:
        ConfigError, DataError, ModelError: with file:line where a row is at fault.
    """
    inputs = context.inputs
    if inputs.warnings:
        return CheckWarning("\n".join(inputs.warnings))
    rows = ", ".join(f"{count:,} {kind}" for kind, count in inputs.rows().items())
    return "; ".join([f"{rows} to learn from", *inputs.left_out])


def check_rows_alone(context: CheckContext) -> str:
    """Read every row that is given, as far as that goes without a tokenizer.

    Raises:
        DataError: with file:line where a row is at fault.
    """
    faults = Faults()
    data = context.experiment.data
    with heard() as warnings:
        for kind in kinds_of(context.experiment, context.stages):
            if kind in given(data):
                faults.of(partial(check_rows, kind, data))
        faults.check()
    return CheckWarning("\n".join(warnings)) if warnings else "read"


def check_judge(context: CheckContext) -> str:
    """Load the judge of the evaluation, and compare what it needs with the prompts' columns.

    Raises:
        ConfigError: when it does not load, or needs an argument that no column fills.
    """
    if context.judge is not None:
        context.judge.refuse_without(context.inputs.prompt_columns)
    return judge_alone(context)


def judge_alone(context: CheckContext) -> str:
    """Load the judge of the evaluation.

    Raises:
        ConfigError: when it does not load.
    """
    return "none" if context.judge is None else str(context.experiment.evaluation.judge)


CHECKS = (
    Check(name="packages", look=check_packages),
    Check(name="settings", look=check_settings),
    Check(name="finished", look=check_finished),
    Check(name="folders", look=check_folders, needs=("settings",)),
    Check(name="data", look=check_data, needs=("folders",), otherwise=check_rows_alone),
    Check(name="judge", look=check_judge, needs=("data",), otherwise=judge_alone),
    Check(name="models", look=check_models, needs=("folders",)),
    Check(name="tokenizers", look=check_tokenizers, needs=("data", "models")),
    Check(name="reward head", look=check_reward_head, needs=("models",)),
    Check(name="adapters", look=check_adapters, needs=("data", "models")),
    Check(name="reward", look=check_reward, needs=("settings",)),
    Check(name="run folder", look=check_run_folder),
    Check(name="disk", look=check_disk, needs=("data", "models")),
    Check(name="machine", look=check_machine),
    Check(name="cluster", look=check_cluster),
    Check(name="token", look=check_access, needs=("cluster",)),
    Check(name="nodes", look=check_nodes, needs=("token",), connects=True),
)
