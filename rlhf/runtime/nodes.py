"""Nodes: every machine of a running cluster is checked before a role is placed on it."""

from __future__ import annotations

import platform
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rlhf import __version__
from rlhf.catalog.stages import PPO
from rlhf.checkpoint.disk import existing
from rlhf.config.commands import sources
from rlhf.config.experiment import Experiment
from rlhf.errors import ConfigError
from rlhf.observe.manifest import versions
from rlhf.rewards.sources import made_of

MUST_AGREE = ("rlhf", "python", "ray", "torch", "deepspeed", "transformers", "peft")
LONGEST_WAIT_S = 120.0
"""Most seconds for a node's answer: its first process may have to unpack the working folder."""
VISIBLE_DEVICES = {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Else Ray hides all devices from a task that asks for none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """The question that the driver sends to a node."""

    marker: str | None
    """Path of a file that the driver wrote into the run's folder."""
    shown_within_s: float = 5.0
    """How long to look for it: a network disk may show a new file a little later."""
    paths: tuple[str, ...] = ()
    """Model folders that the roles will load."""
    count_devices: bool = False
    """Whether to look for accelerators, which takes a second or two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A node's answer: versions, devices and files it has."""

    host: str
    versions: dict[str, str]
    """Versions of the packages that must agree."""
    sees_marker: bool
    absent: tuple[str, ...] = ()
    """Those of the paths that are not there."""
    devices: int | None = None
    """Accelerators that torch finds; None when not asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's address, the GPUs that Ray counts there, and its answer or why there is none."""

    address: str
    ray_gpus: float
    reply: Node | str


def look(question: Question) -> Node:
    """Answer for this machine."""
    return Node(
        host=socket.gethostname(),
        versions=_versions(),
        sees_marker=_appears(question),
        absent=tuple(path for path in question.paths if not Path(path).exists()),
        devices=_devices() if question.count_devices else None,
    )


def ask_connected(experiment: Experiment) -> str:
    """Ask the nodes of the cluster this process is connected to.

    Raises:
        ConfigError: a line for each node that differs from this one.
    """
    models = [
        experiment.policy.path,
        experiment.reference.path,
        experiment.value.path,
        *(source.model for source in made_of(sources(PPO.name, experiment))),
    ]
    local = {str(Path(path).absolute()) for path in models if path and Path(path).exists()}
    return check_nodes(
        existing(Path(experiment.run_dir)),
        sorted(local),
        count_devices=experiment.cluster.wants_gpus,
        timeout_s=experiment.cluster.timeout_s,
    )


def check_nodes(
    folder: Path, paths: Sequence[str], *, count_devices: bool, timeout_s: float
) -> str:
    """Ask every node of the cluster this process is connected to.

    Args:
        folder: The run's folder; the driver leaves a file there for the other nodes to find.
        paths: Local model folders, absolute.
        count_devices: Whether the roles ask for GPUs.
        timeout_s: Longest a node may take.

    Returns:
        How many nodes agree with the driver.

    Raises:
        ConfigError: a line for each difference, naming the node.
    """
    with _marker(folder) as marker:
        question = Question(marker=str(marker), paths=tuple(paths), count_devices=count_devices)
        answers = ask_nodes(question, timeout_s)
    problems = [problem for answer in answers for problem in faults(answer, folder)]
    if problems:
        raise ConfigError("\n".join(problems))
    return f"{len(answers)} of {len(answers)} nodes have these versions, and see {folder}"


def ask_nodes(question: Question, timeout_s: float) -> list[Answer]:
    """Ask all nodes at once; those that fail or do not answer in time are reported as such."""
    # Ray makes the task at run time; no type checker can follow it.
    task: Any = ray.remote(look)
    env = {"env_vars": VISIBLE_DEVICES} if question.count_devices else {}
    alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    calls = [
        task.options(
            num_cpus=0,
            max_retries=0,
            runtime_env=env,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote(question)
        for node in alive
    ]
    seconds = min(LONGEST_WAIT_S, timeout_s)
    answered, _ = ray.wait(calls, num_returns=len(calls), timeout=seconds)
    late = f"did not answer within {seconds:g} s; check its load and its Ray logs"
    return [
        Answer(
            node["NodeManagerAddress"],
            node["Resources"].get("GPU", 0.0),
            _said(call) if call in answered else late,
        )
        for node, call in zip(alive, calls, strict=True)
    ]


def faults(answer: Answer, folder: Path) -> Iterator[str]:
    """Yield where a node differs from this one, the driver's."""
    name, node = f"node {answer.address}", answer.reply
    if isinstance(node, str):
        yield f"{name} {node}"
        return
    name = f"{name} ({node.host})"
    for package, here in _versions().items():
        there = node.versions.get(package, "not installed")
        if there != here:
            yield (
                f"{name}: {package} {there}, the driver has {here}; install the same lock on "
                "every node"
            )
    if not node.sees_marker:
        yield (
            f"{name}: does not see what the driver writes to {folder}; run_dir must be an "
            "absolute path on a disk that all nodes share"
        )
    for path in node.absent:
        yield f"{name}: has no {path}; put the model on a disk that all nodes share"
    if node.devices is not None and node.devices < answer.ray_gpus:
        yield (
            f"{name}: torch finds {node.devices} accelerators, Ray counts on "
            f"{answer.ray_gpus:g}; check its driver, or --num-gpus of its `ray start`"
        )


def _said(call: Any) -> Node | str:
    try:
        return ray.get(call)
    except RayError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        return (
            f"could not answer ({lines[-1].strip() if lines else type(error).__name__}); rlhf and "
            "its packages must be installed there, or come with the job's working folder"
        )


def _versions() -> dict[str, str]:
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"rlhf": __version__, "python": python, **versions()}
    return {name: found[name] for name in MUST_AGREE}


def _devices() -> int:
    import torch

    return torch.accelerator.device_count()


@contextmanager
def _marker(folder: Path) -> Iterator[Path]:
    """Create a file whose name no other machine uses."""
    path = folder / f".seen-{secrets.token_hex(8)}"
    try:
        path.touch()
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _appears(question: Question) -> bool:
    until = time.monotonic() + question.shown_within_s
    while question.marker is not None and not Path(question.marker).exists():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
