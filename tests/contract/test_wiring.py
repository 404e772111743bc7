"""What settings come to in a rank's process: the engine that each role really has."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rlhf.engine.world import World
from rlhf.engine.zero import ZeroEngine
from rlhf.runtime.specs import Assignment
from tests import models
from tests.specs import assigned, on_every_rank

pytestmark = pytest.mark.ray

KINDS = {
    "policy": ("policy", "causal"),
    "value": ("value", "classifier"),
    "reference": ("reference", "causal"),
    "reward": ("reward_trainer", "classifier"),
}


@dataclass(frozen=True)
class Told:
    """Builds a role, and reports how its engine stores the model."""

    part: Assignment

    def __call__(self, world: World) -> Told:
        """Build."""
        role = self.part(world)
        learner = getattr(role, "learner", None)
        object.__setattr__(self, "engine", role.engine if learner is None else learner.engine)
        return self

    def held(self) -> dict[str, object]:
        """Return the settings given to DeepSpeed, and those it has."""
        engine: ZeroEngine = self.engine  # type: ignore[attr-defined]
        asked = engine._engine.config["zero_optimization"]
        return {
            "stage": asked["stage"],
            "optimizer": asked.get("offload_optimizer", {}).get("device"),
            "weights": asked.get("offload_param", {}).get("device"),
            "clip": engine._max_norm,
        }


@pytest.mark.parametrize("role", KINDS)
def test_a_role_is_held_by_its_own_row(slot, folder, role):
    # A frozen model has nothing to shard but weights, so of its stages only 3 shows.
    own = {"zero_stage": 3, "offload": "weights" if role == "reference" else "optimizer"}
    for row, wanted in (({}, 0 if role == "reference" else 1), (own, 3)):
        kind, model = KINDS[role]
        norms = {r: {"optimizer": models.optimizer(max_grad_norm=n)} for r, n in NORMS.items()}
        asked = models.experiment(
            "deepspeed", engine={"zero_stage": 1}, cluster={role: row}, **norms
        )
        group = slot("two")
        group.become(Told(assigned(kind, folder("llama", model), asked)))
        found = on_every_rank(group, "held").result()
        assert found["stage"] == wanted
        assert found["optimizer"] == ("cpu" if row else None)
        assert (found["weights"] == "cpu") == (row.get("offload") == "weights")
        assert found["clip"] == NORMS.get("reward_model" if role == "reward" else role, 0.0)


NORMS = {"policy": 0.25, "value": 0.5, "reward_model": 0.75, "sft": 2.0}
"""Each role that learns clips at a norm of its own."""


def test_the_time_limit_reaches_every_group(ray_groups):
    groups = (ray_groups.two, ray_groups.one, ray_groups.doomed)
    assert {group._timeout_s for group in groups} == {240.0}
    assert {group._liveness._hang_s for group in groups} == {250.0}
