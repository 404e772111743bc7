"""Rows that have ended are scored while the policy generates the others, with equal results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.timeline import Timeline
from rlhf.stages.ppo import PPO
from rlhf.stages.run import build_terms
from tests.models import experiment, prompts
from tests.specs import on, reward_mix

pytestmark = pytest.mark.ray

SECTIONS = {
    "ppo": {},
    "engine": {"max_tokens_per_microbatch": 512},
    "generation": {"max_new_tokens": 48, "temperature": 0.8, "batch_size": 8},
}
KINDS = {"policy": "causal", "reference": "causal", "reward": "classifier", "value": "classifier"}


@dataclass
class Roles:
    """A port for each role; those not on Ray are in this process."""

    folder: Any
    ports: dict[str, Any]

    def __post_init__(self) -> None:
        for kind, model in KINDS.items():
            if kind not in self.ports:
                group = InProcessGroup(kind, Timeline())
                path = self.folder("llama", model)
                fields = {"policy": self.folder()} if kind == "reward" else {}
                self.ports[kind] = on(group, kind, path, experiment(**SECTIONS), **fields)

    def stage(self) -> PPO:
        return PPO(
            prompts=lambda step: prompts(96),
            policy=self.ports["policy"],
            reference=self.ports["reference"],
            reward=RewardSum(self.ports["reward"], reward_mix("model", model_weight=0.5)),
            value=self.ports["value"],
            terms=build_terms(experiment(**SECTIONS)),
        )


def scored(stage):
    rollout, scores = stage.score(stage.prompts(0), 0)
    return {**columns(rollout), **columns(scores)}


def columns(batch):
    return {name: column for name, column in batch._columns().items() if name != "rows_B"}


@pytest.fixture(scope="module")
def wanted(folder):
    """What comes of it in this process, where all is scored at the end."""
    return scored(Roles(folder, {}).stage())


@pytest.mark.parametrize(
    ("writer", "scorer", "kind"),
    [("two", "one", "reward"), ("one", "two", "reward"), ("one", "two", "value")],
)
def test_early_scores_are_the_same_again_and_the_same_as_late_ones(
    ray_groups, play, folder, wanted, writer, scorer, kind
):
    # correctness 55: on one and two ranks that generate, and one and two (sharded) that score.
    policy = play(writer, "policy", **SECTIONS)
    fields = {"policy": folder()} if kind == "reward" else {}
    scoring = play(scorer, kind, stage=3, fields=fields, **SECTIONS)
    stage = Roles(folder, {"policy": policy, kind: scoring}).stage()
    ray_groups.timeline.drain()
    got = scored(stage)
    spans = ray_groups.timeline.drain()
    assert got.keys() == wanted.keys()
    for name, column in wanted.items():
        if isinstance(column, torch.Tensor):
            torch.testing.assert_close(got[name], column, rtol=0, atol=2e-5, msg=name)
        else:
            assert got[name] == column, name
    again = scored(stage)
    for name, column in got.items():
        same = torch.equal if isinstance(column, torch.Tensor) else tuple.__eq__
        assert same(again[name], column), name

    writing = [s for s in spans if s.method == "generate"]
    early = [s for s in spans if s.role == scoring.group.name]
    assert {s.rank for s in writing} == set(range(policy.group.size))
    assert len(writing) == policy.group.size
    assert len(early) in (3 * scoring.group.size, 4 * scoring.group.size)
    assert min(s.start for s in early) < min(s.end for s in writing)
    for span in (s for s in spans if (s.role, s.method) == (policy.group.name, "step_logprobs")):
        assert all(span.start >= w.end for w in writing if w.rank == span.rank)
