"""`rlhf submit`: any other command, as a job of a running Ray cluster."""

from __future__ import annotations

import argparse
import os
import re
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlhf.catalog.stages import TRAINING
from rlhf.errors import ConfigError
from rlhf.secret import exposed, is_secret

if TYPE_CHECKING:
    from rlhf.runtime.submit import Jobs

WRITES_RUN = (*TRAINING, "evaluate", "report", "export")
"""Commands whose run_dir must be the same folder on every node."""
DESCRIPTION = """Runs a command on a Ray cluster, in a copy of this folder, and follows its log;
ends with the exit code of the command. From a checkout the code here is what runs; from any other
folder, the package that is installed on the nodes. Ctrl-C stops following, not the job."""
EPILOG = """example: rlhf submit pipeline recipe=quickstart run_dir=/shared/runs/first
a cluster that asks for a token gets it from RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.
exit codes: those of COMMAND; 3 when Ray lost the job, 130 when somebody stopped it."""


def submit(arguments: Sequence[str], commands: Collection[str]) -> int:
    """Hand in a job, or find one again, and follow it; return the exit code.

    Args:
        arguments: The command line after `submit`.
        commands: Names of the commands that a job may run.

    Raises:
        ConfigError: when the command line is wrong or the cluster does not take the job.
        WorkerError: when the cluster is lost.
    """
    asked = _parser().parse_args(arguments)
    if asked.command:
        _check_command(asked.command, commands)
    elif asked.id is None:
        raise ConfigError("rlhf submit: nothing to do; give a COMMAND, or --id of a job to follow")
    env = dict(map(_variable, asked.env))
    # Ray takes a second to import; faults of the command line are reported before.
    from rlhf.runtime.submit import Jobs, dashboard_of

    jobs = Jobs(dashboard_of(asked.address))
    job_id = asked.id or _new_id(asked.command[0])
    _start_or_find(jobs, job_id, asked.command, env)
    if asked.no_wait:
        _print(_how_to(jobs.address, job_id))
        return 0
    try:
        ended = jobs.follow(job_id)
    except KeyboardInterrupt:
        _print(f"job {job_id} goes on\n{_how_to(jobs.address, job_id)}")
        return 130
    _print(f"job {job_id} " + (ended.reason if ended.exit_code else "is done"))
    return ended.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlhf submit",
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--address", metavar="URL", help="the cluster's dashboard, http://HEAD:8265 (RAY_ADDRESS)"
    )
    parser.add_argument("--id", help="a name for the job; of one that is there: follow that one")
    parser.add_argument(
        "--env",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="a variable for the job, no secret; without a value, this machine's",
    )
    parser.add_argument("--no-wait", action="store_true", help="do not follow the job")
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND [KEY=VALUE ...]", help="what to run"
    )
    return parser


def _check_command(command: list[str], commands: Collection[str]) -> None:
    name, *overrides = command
    for word in command:
        _check_secret(word.partition("=")[0], exposed(word))
    if name not in commands:
        raise ConfigError(
            f"rlhf submit {name}: there is no such command; legal: {', '.join(commands)}"
        )
    given = [word.lstrip("+").partition("=") for word in overrides]
    folders = [value for key, _, value in given if key == "run_dir"]
    if name in WRITES_RUN and not (folders and Path(folders[-1]).is_absolute()):
        found = f"run_dir={folders[-1]}" if folders else "run_dir, which is not given,"
        raise ConfigError(
            f"{found} must be an absolute path on a disk that all nodes share: the job runs in a "
            "copy of this folder, which is gone when it ends"
        )


def _check_secret(where: str, what: str | Literal[False] | None) -> None:
    """Refuse what Ray would keep in a job's record, its log folder and a command line."""
    if what:
        raise ConfigError(
            f"{where} holds {what}, and Ray shows a job's variables and command to whoever reaches "
            "the cluster; set it on every node before `ray start`, or keep it in a file there that "
            "only you may read (--env HF_TOKEN_PATH=/shared/me/token)"
        )


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    _check_secret(f"--env {name}", exposed(value) or (is_secret(name) and "a secret, by its name"))
    if equals:
        return name, value
    if name not in os.environ:
        raise ConfigError(f"--env {name}: not set on this machine; set it, or give {name}=VALUE")
    return name, os.environ[name]


def _new_id(command: str) -> str:
    return f"rlhf-{command}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def _start_or_find(jobs: Jobs, job_id: str, command: list[str], env: dict[str, str]) -> None:
    """Hand the job in, unless it is there already."""
    if not re.fullmatch(r"[\w.-]+", job_id):
        raise ConfigError(f"--id {job_id}: legal are letters, digits and the signs . _ -")
    command_line = shlex.join(["exec", "python", "-m", "rlhf", *command])
    there = jobs.find(job_id)
    if there is None:
        if not command:
            raise ConfigError(f"{jobs.address} has no job {job_id}; give its command to start it")
        _start(jobs, job_id, command_line, env)
        return
    status, runs = there
    if command and (runs != command_line or status not in ("PENDING", "RUNNING")):
        raise ConfigError(
            f"--id {job_id} is taken: that job ({runs}) is {status}; give another name, or follow "
            f"it with rlhf submit --id {job_id}"
        )
    _print(f"job {job_id} is there ({status}); its log:")


def _start(jobs: Jobs, job_id: str, command_line: str, env: dict[str, str]) -> None:
    from rlhf.runtime.archive import pack

    with tempfile.TemporaryDirectory() as folder:
        archive = pack(Path.cwd(), Path(folder) / "archive.zip")
        _print(f"job {job_id} at {jobs.address}, with {archive} of {Path.cwd()}")
        jobs.submit(job_id, command_line, archive, env)


def _how_to(address: str, job_id: str) -> str:
    return (
        f"follow it: rlhf submit --address {address} --id {job_id}\n"
        f"stop it:   ray job stop --address {address} {job_id}"
    )


def _print(message: str) -> None:
    for line in message.splitlines():
        sys.stderr.write(f"rlhf: {line}\n")
