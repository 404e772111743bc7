"""Rows that have ended are scored while the policy writes the others, and nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from rlhf.cli.build import Part
from rlhf.cluster.in_process import InProcessGroup
from rlhf.cluster.ports import GroupPolicy, GroupReference, GroupReward, GroupValue
from rlhf.cluster.timeline import Timeline
from rlhf.stages.acts import build_terms
from rlhf.stages.ppo import PPO
from tests.models import experiment, prompts

pytestmark = pytest.mark.ray

SECTIONS = {
    "ppo": {},
    "engine": {"max_tokens_per_microbatch": 512},
    "generation": {"max_new_tokens": 48, "temperature": 0.8, "batch_size": 8},
}
KINDS = {"policy": "causal", "reference": "causal", "judge": "classifier", "value": "classifier"}


@dataclass
class Roles:
    """A group for each part; those not on Ray are in this process."""

    folder: Any
    groups: dict[str, Any]

    def __post_init__(self) -> None:
        for kind, model in KINDS.items():
            if kind not in self.groups:
                group = InProcessGroup(kind, Timeline())
                path = self.folder("llama", model)
                role = "reward" if kind == "judge" else kind
                part = {"policy_path": self.folder()} if kind == "judge" else {}
                asked = experiment(**SECTIONS)
                group.become(Part(kind=kind, role=role, experiment=asked, path=path, **part))
                self.groups[kind] = group

    def stage(self) -> PPO:
        reward = GroupReward(self.groups["judge"], model_weight=0.5, function_weight=None)
        return PPO(
            prompts=lambda step: prompts(96),
            policy=GroupPolicy(self.groups["policy"]),
            reference=GroupReference(self.groups["reference"]),
            reward=reward,
            value=GroupValue(self.groups["value"]),
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
    [("two", "one", "judge"), ("one", "two", "judge"), ("one", "two", "value")],
)
def test_early_scores_are_the_same_again_and_the_same_as_late_ones(
    ray_groups, play, folder, wanted, writer, scorer, kind
):
    # correctness 55: on one and two ranks that write, and one and two (sharded) that score.
    policy = play(writer, "policy", **SECTIONS)
    role, part = kind, {}
    if kind == "judge":
        role, part = "reward", {"policy_path": folder()}
    scoring = play(scorer, kind, role=role, model=KINDS[kind], stage=3, part=part, **SECTIONS)
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
    early = [s for s in spans if s.role == scoring.name]
    assert {s.rank for s in writing} == set(range(policy.size))
    assert len(writing) == policy.size
    assert len(early) in (3 * scoring.size, 4 * scoring.size)
    assert min(s.start for s in early) < min(s.end for s in writing)
    for span in (s for s in spans if (s.role, s.method) == (policy.name, "step_rows")):
        assert all(span.start >= w.end for w in writing if w.rank == span.rank)
