"""Part: pickles whole, and builds each kind of role on a rank."""

from __future__ import annotations

import pickle

import pytest
import torch

from rlhf.cli import build
from rlhf.cli.build import Part
from rlhf.engine.local import LocalEngine
from rlhf.engine.zero import ZeroEngine
from rlhf.errors import ModelError
from rlhf.flow.rollout import joined
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


def test_every_role_scores_in_the_microbatches_of_the_policys_ranks():
    ranks = {"policy": {"ranks": 2}, "reference": {"ranks": 1}, "value": {"ranks": 4}}
    experiment = models.experiment("deepspeed", cluster=ranks)
    for role in ("policy", "reference", "value"):
        part = Part(kind=role, role=role, experiment=experiment, path="anywhere")
        assert build._settings(part).policy_ranks == 2


def test_a_policy_draws_no_id_that_its_tokenizer_has_not(tmp_path):
    words = models.tokenizer()
    path = models.write(models.causal(vocab_size=len(words) + 3), tmp_path)
    for kind in ("policy", "writer"):
        part = Part(kind=kind, role="policy", experiment=models.experiment(), path=path)
        wanted = tuple(range(len(words), len(words) + 3))
        assert part(models.alone())._sampling.absent_ids == wanted


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


def recomputing(engine):
    """Whether each block of the engine's network will be recomputed."""
    blocks = engine.module.network.base_model.layers
    return {block.gradient_checkpointing for block in blocks}


@pytest.mark.parametrize("method", ("none", "lora"))
def test_gradient_checkpointing_changes_nothing_that_a_policy_writes_or_learns(role, method):
    found = []
    for asked in (False, True):
        engine = {"backend": "torch", "gradient_checkpointing": asked}
        policy = role("policy", engine=engine, peft={"method": method})
        assert recomputing(policy.engine) == {asked}
        for step in range(2):
            written = joined(policy.generate(models.prompts(8), step))
            scored = policy.step_logprobs(written, 0)
            zeros = torch.zeros(written.response_mask_BR.shape)
            policy.improve(models.experience(written, scored, zeros), step)
        found.append((written.tokens_BT, scored, policy.engine.weights()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert all(torch.equal(found[1][2][name], tensor) for name, tensor in found[0][2].items())


def test_roles_that_do_not_learn_recompute_nothing(role):
    engine = {"backend": "torch", "gradient_checkpointing": True}
    for kind in ("writer", "reference"):
        assert recomputing(role(kind, engine=engine).engine) == {False}
    for kind in ("pupil", "apprentice", "value"):
        assert recomputing(role(kind, engine=engine).learner.engine) == {True}
