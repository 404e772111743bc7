"""Specs: each pickles whole, and builds its role on a rank."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from rlhf.engine.local import LocalEngine
from rlhf.engine.zero import ZeroEngine
from rlhf.errors import ModelError
from rlhf.flow.rollout import joined
from rlhf.roles.policy import Policy
from rlhf.roles.precision_probe import PrecisionProbe
from rlhf.roles.reference import Reference
from rlhf.roles.reward import Reward, RewardTrainer
from rlhf.roles.sampler import Sampler
from rlhf.roles.sft_policy import SFTPolicy
from rlhf.roles.value import Value
from rlhf.runtime.context import RoleContext
from tests import models
from tests.specs import SCALAR, assigned, logprobs

KINDS = {
    "probe": PrecisionProbe,
    "sft_policy": SFTPolicy,
    "policy": Policy,
    "sampler": Sampler,
    "reference": Reference,
    "reward": Reward,
    "reward_trainer": RewardTrainer,
    "value": Value,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_that_was_pickled_builds_its_role(folder, kind):
    path = folder(kind="classifier" if kind in SCALAR else "causal")
    fields = {"policy": Path(folder())} if kind == "reward" else {}
    made = assigned(kind, path, models.experiment(), **fields)
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert type(again(models.alone())) is KINDS[kind]
    assert made.spec.role is KINDS[kind]


def test_plain_torch_holds_whole_weights(folder):
    engine = assigned("sampler", folder(), models.experiment())(models.alone()).engine
    assert isinstance(engine, LocalEngine)
    assert not isinstance(engine, ZeroEngine)


def test_every_role_scores_in_the_microbatches_of_the_policys_ranks():
    ranks = {"policy": {"ranks": 2}, "reference": {"ranks": 1}, "value": {"ranks": 4}}
    experiment = models.experiment("deepspeed", cluster=ranks)
    for role in ("policy", "reference", "value"):
        assert RoleContext(experiment, models.alone(), role).settings.policy_ranks == 2


def test_a_policy_draws_no_id_that_its_tokenizer_has_not(tmp_path):
    words = models.tokenizer()
    path = models.write(models.causal(vocab_size=len(words) + 3), tmp_path)
    for kind in ("policy", "sampler"):
        made = assigned(kind, path, models.experiment())(models.alone())
        assert made._sampling.absent_ids == tuple(range(len(words), len(words) + 3))


def test_a_reward_model_without_a_trained_head_is_refused(folder):
    with pytest.raises(ModelError, match="no trained score head"):
        assigned("reward", folder(), models.experiment())(models.alone())


def recomputing(engine):
    """Whether each block of the engine's network will be recomputed."""
    blocks = engine.module.network.base_model.layers
    return {block.gradient_checkpointing for block in blocks}


@pytest.mark.parametrize("method", ("none", "lora"))
def test_gradient_checkpointing_changes_nothing_that_a_policy_generates_or_learns(role, method):
    found = []
    for asked in (False, True):
        engine = {"backend": "torch", "gradient_checkpointing": asked}
        policy = role("policy", engine=engine, peft={"method": method})
        assert recomputing(policy.engine) == {asked}
        for step in range(2):
            written = joined(policy.generate(models.prompts(8), step))
            scored = logprobs(policy, written, 0)
            zeros = torch.zeros(written.response_mask_BR.shape)
            policy.improve(models.experience(written, scored, zeros), step)
        found.append((written.tokens_BT, scored, policy.engine.weights()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert all(torch.equal(found[1][2][name], tensor) for name, tensor in found[0][2].items())


def test_roles_that_do_not_learn_recompute_nothing(role):
    engine = {"backend": "torch", "gradient_checkpointing": True}
    for kind in ("sampler", "reference"):
        assert recomputing(role(kind, engine=engine).engine) == {False}
    for kind in ("sft_policy", "reward_trainer", "value"):
        assert recomputing(role(kind, engine=engine).learner.engine) == {True}
