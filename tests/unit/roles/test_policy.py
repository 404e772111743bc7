"""Policy: the first ratio is 1, accumulation changes nothing, SFT is plain cross entropy."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from rlhf.errors import TrainingError
from rlhf.models.pretrained import load_causal_lm
from tests.models import demonstrations, experience, optimizer, prompts, rollout

ONE_UPDATE = {"rollout_batch_size": 8, "minibatch_size": 8, "num_epochs": 1}


def experienced(policy, written=None):
    written = written or rollout(8)
    return experience(
        written, policy.logprobs(written), torch.zeros(written.response_mask_BR.shape)
    )


def test_the_first_ratio_is_one_and_the_first_kl_nothing(role):
    policy = role("policy", ppo=ONE_UPDATE)
    metrics = policy.improve(experienced(policy), 0)
    assert metrics["policy/ratio_first_max_error"] == 0.0
    assert metrics["val/ratio"] == 1.0
    assert metrics["policy/approxkl_avg"] == 0.0
    assert metrics["policy/clipfrac_avg"] == 0.0


def test_the_first_ratio_is_one_on_what_the_policy_wrote_itself(role):
    policy = role("policy")
    metrics = policy.improve(experienced(policy, policy.generate(prompts(8), 0)), 0)
    assert metrics["policy/ratio_first_max_error"] <= 1e-5
    assert metrics["policy/approxkl_avg"] > 0, "later minibatches have moved"


def test_the_first_loss_is_minus_the_mean_advantage(role):
    policy = role("policy", ppo=ONE_UPDATE)
    batch = experienced(policy)
    wanted = -float(batch.advantages_BR.sum() / batch.response_lengths_B.sum())
    assert policy.improve(batch, 0)["loss/policy_avg"] == pytest.approx(wanted, rel=1e-5)


def test_weights_that_changed_since_scoring_are_an_error_that_names_the_cause(role):
    policy = role("policy")
    batch = experienced(policy)
    with torch.no_grad():
        policy.engine.module.network.lm_head.weight.mul_(1.002)
    with pytest.raises(TrainingError, match=r"PPO step 4: .* weights changed in between"):
        policy.improve(batch, 4)


def test_another_temperature_in_scoring_is_an_error(role):
    policy = role("policy")
    batch = experienced(role("policy", generation={"temperature": 0.7}))
    with pytest.raises(TrainingError, match="another temperature"):
        policy.improve(batch, 0)


@pytest.mark.parametrize("kind", ("policy", "pupil"))
def test_microbatches_change_no_update(role, kind):
    weights = []
    for max_tokens in (26, 100_000):
        policy = role(kind, engine={"backend": "torch", "max_tokens_per_microbatch": max_tokens})
        if kind == "policy":
            policy.improve(experienced(policy), 0)
        else:
            policy.imitate(demonstrations())
        weights.append(policy.engine.weights())
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, rtol=1e-5, atol=1e-6)


def test_the_sft_loss_is_cross_entropy_on_the_learned_tokens(role, folder):
    batch, policy = demonstrations(), role("pupil")
    network = load_causal_lm(folder())
    labels_BT = batch.tokens_BT.masked_fill(~batch.loss_mask_BT, -100)
    with torch.no_grad():
        logits_BTV = network(input_ids=batch.tokens_BT).logits
        wanted = float(cross_entropy(logits_BTV[:, :-1].flatten(0, 1), labels_BT[:, 1:].flatten()))
        theirs = float(network(input_ids=batch.tokens_BT, labels=labels_BT).loss)
    assert wanted == pytest.approx(theirs, rel=1e-6)
    assert policy.imitation_loss(batch)["loss/validation"] == pytest.approx(wanted, rel=1e-5)
    assert policy.imitate(batch)["loss/train"] == pytest.approx(wanted, rel=1e-5)


def test_imitating_learns(role):
    policy = role("pupil", sft={"optimizer": optimizer(lr=1e-2)})
    losses = [policy.imitate(demonstrations())["loss/train"] for _ in range(10)]
    assert losses[-1] < losses[0] - 0.3


def test_while_the_value_warms_up_the_policy_waits(role):
    policy = role("policy", ppo={"value_warmup_steps": 2})
    before, batch = policy.engine.weights(), experienced(policy)
    assert policy.improve(batch, 1).means() == {}
    assert all(torch.equal(w, before[name]) for name, w in policy.engine.weights().items())
    assert policy.improve(batch, 2).means()
    assert any(not torch.equal(w, before[name]) for name, w in policy.engine.weights().items())


def test_the_adapters_are_off_for_the_reference(role):
    lora = {"method": "lora", "rank": 4, "alpha": 8}
    policy, written = role("policy", peft=lora), rollout(5)
    wanted = role("reference").logprobs(written)
    policy.improve(experienced(policy), 0)
    torch.testing.assert_close(policy.reference_logprobs(written), wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(policy.logprobs(written), wanted, atol=1e-4)
