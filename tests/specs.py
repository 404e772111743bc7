"""Roles for tests: a spec by its kind, a role on a group, and what a group's ranks all say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from rlhf.config.experiment import Experiment
from rlhf.config.rewards import RewardConfig, asked_sources
from rlhf.flow.future import Future, Then
from rlhf.flow.rollout import Rollout
from rlhf.flow.tensors import placed
from rlhf.rewards.mix import Mix
from rlhf.rewards.sources import made_of
from rlhf.runtime.group import Group
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.proxy import RoleProxy
from rlhf.runtime.runtime import Runtime
from rlhf.runtime.specs import (
    Assignment,
    PolicySpec,
    PrecisionProbeSpec,
    ReferenceSpec,
    RewardSpec,
    RewardTrainerSpec,
    RoleSpec,
    SamplerSpec,
    SFTPolicySpec,
    ValueSpec,
)
from rlhf.runtime.timeline import Timeline

ROLES = ("policy", "reference", "reward", "value")
SCALAR = ("reward", "reward_trainer", "value")
"""Kinds whose model has a scalar head."""


SPECS: dict[str, Any] = {
    "probe": PrecisionProbeSpec,
    "sft_policy": SFTPolicySpec,
    "policy": PolicySpec,
    "sampler": SamplerSpec,
    "reference": ReferenceSpec,
    "reward": RewardSpec,
    "reward_trainer": RewardTrainerSpec,
    "value": ValueSpec,
}


def spec(kind: str, path: str | Path, **fields: Any) -> RoleSpec[Any]:
    """Return a role's spec; what is not given is as most tests want it."""
    if kind == "reward":
        policy = Path(fields.pop("policy", path))
        mix = fields.pop("mix", None)
        return RewardSpec(mix=mix or reward_mix(path, **fields), policy=policy)
    usual: dict[str, dict[str, Any]] = {
        "sft_policy": {"total_updates": 100},
        "reward_trainer": {"total_updates": 100, "head": "trained"},
        "value": {"head": "trained"},
    }
    return SPECS[kind](path=Path(path), **{**usual.get(kind, {}), **fields})


def reward_mix(
    model: str | Path | None = None,
    function: str | None = None,
    *,
    model_weight: float = 1.0,
    function_weight: float = 1.0,
) -> Mix:
    """Return a reward of the short forms."""
    asked = RewardConfig(
        function=function, model_weight=model_weight, function_weight=function_weight
    )
    return Mix(made_of(asked_sources(asked, None if model is None else str(model))))


def listed_mix(*entries: dict[str, object]) -> Mix:
    """Return the reward of a list of sources."""
    asked = RewardConfig.model_validate({"sources": list(entries)})
    return Mix(made_of(asked_sources(asked, None)))


def assigned(kind: str, path: str | Path, experiment: Experiment, **fields: Any) -> Assignment:
    """Return what builds a role on a rank."""
    return Assignment(spec(kind, path, **fields), experiment)


def on(group: Group, kind: str, path: str | Path, experiment: Experiment, **fields: Any) -> Any:
    """Make a role on a group; return its port."""
    made = assigned(kind, path, experiment, **fields)
    group.become(made)
    return RoleProxy(group, made.spec.role)


def local(role: object) -> Any:
    """Return the port of a role object in this process."""
    group = InProcessGroup("policy", Timeline())
    group.become(lambda world: role)
    return RoleProxy(group, type(role))


def runtime(experiment: Experiment, roles: tuple[str, ...] = ROLES) -> Runtime:
    """Return a runtime in this process."""
    timeline = Timeline()
    groups = {role: InProcessGroup(role, timeline) for role in roles}
    return Runtime(experiment, lambda: groups)


def on_every_rank(group: Group, method: str, *arguments: object) -> Future[Any]:
    """Call with the same arguments everywhere; the first rank's answer speaks for all."""
    calls = group.call(method, [arguments] * group.size)
    return Then(calls, lambda answers: answers[0])


def logprobs(role: Any, rollout: Rollout, step: int = 0) -> torch.Tensor:
    """Return logprobs_BR of a language-model role in this process."""
    return placed([role.step_logprobs(rollout, step)], len(rollout))
