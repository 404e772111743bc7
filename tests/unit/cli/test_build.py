"""Part: pickles whole, and builds each kind of role on a rank."""

from __future__ import annotations

import pickle

import pytest

from rlhf.cli.build import Part
from rlhf.engine.local import LocalEngine
from rlhf.engine.zero import ZeroEngine
from rlhf.errors import ModelError
from rlhf.roles.policy import Policy
from rlhf.roles.reference import Reference
from rlhf.roles.reward import Reward, RewardLearner
from rlhf.roles.value import Value
from rlhf.roles.writer import Writer
from tests import models

KINDS = {
    "pupil": ("policy", "causal", Policy),
    "policy": ("policy", "causal", Policy),
    "writer": ("policy", "causal", Writer),
    "reference": ("reference", "causal", Reference),
    "judge": ("reward", "classifier", Reward),
    "apprentice": ("reward", "classifier", RewardLearner),
    "value": ("value", "classifier", Value),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_was_pickled_builds_its_role(folder, kind):
    role, model, built = KINDS[kind]
    part = Part(
        kind=kind,
        role=role,
        experiment=models.experiment(),
        path=folder(kind=model),
        policy_path=folder(),
    )
    again = pickle.loads(pickle.dumps(part))
    assert again == part
    assert type(again(models.alone())) is built


def test_plain_torch_holds_whole_weights(folder):
    part = Part(kind="writer", role="policy", experiment=models.experiment(), path=folder())
    engine = part(models.alone()).engine
    assert isinstance(engine, LocalEngine)
    assert not isinstance(engine, ZeroEngine)


def test_a_judge_without_a_trained_head_is_refused(folder):
    part = Part(
        kind="judge",
        role="reward",
        experiment=models.experiment(),
        path=folder(),
        policy_path=folder(),
    )
    with pytest.raises(ModelError, match="no trained score head"):
        part(models.alone())
