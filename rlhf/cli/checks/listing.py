"""The list of all checks, in the order in which they are made."""

from __future__ import annotations

from rlhf.cli.checks.case import Case
from rlhf.cli.checks.check import Caution, Check
from rlhf.cli.checks.cluster import look_at_cluster, look_at_nodes, look_at_token
from rlhf.cli.checks.disk import look_at_disk, look_at_run_folder
from rlhf.cli.checks.machine import look_at_machine
from rlhf.cli.checks.models import look_at_folders, look_at_models, look_at_reward_head
from rlhf.cli.checks.reward import look_at_reward
from rlhf.cli.checks.settings import look_at_packages, look_at_settings
from rlhf.cli.checks.tokenizers import look_at_tokenizers


def look_at_data(case: Case) -> str:
    """Read and tokenize every row.

    Raises:
        ConfigError, DataError, ModelError: with file:line where a row is at fault.
    """
    inputs = case.inputs
    if inputs.warnings:
        return Caution("\n".join(inputs.warnings))
    rows = ", ".join(f"{count:,} {kind}" for kind, count in inputs.rows().items())
    return "; ".join([f"{rows} to learn from", *inputs.left_out])


def look_at_judge(case: Case) -> str:
    """Load the judge.

    Raises:
        ConfigError: when it does not load.
    """
    return "none" if case.judge is None else str(case.experiment.evaluation.judge)


CHECKS = (
    Check(name="packages", look=look_at_packages),
    Check(name="settings", look=look_at_settings),
    Check(name="folders", look=look_at_folders, needs="settings"),
    Check(name="data", look=look_at_data, needs="folders"),
    Check(name="judge", look=look_at_judge, needs="settings"),
    Check(name="models", look=look_at_models, needs="data"),
    Check(name="tokenizers", look=look_at_tokenizers, needs="models"),
    Check(name="reward head", look=look_at_reward_head, needs="models"),
    Check(name="reward", look=look_at_reward, needs="settings"),
    Check(name="run folder", look=look_at_run_folder),
    Check(name="disk", look=look_at_disk, needs="models"),
    Check(name="machine", look=look_at_machine),
    Check(name="cluster", look=look_at_cluster),
    Check(name="token", look=look_at_token, needs="cluster"),
    Check(name="nodes", look=look_at_nodes, needs="token", connects=True),
)
