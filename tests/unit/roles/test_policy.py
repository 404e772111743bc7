"""Policy: the first ratio is 1, accumulation changes nothing, SFT is plain cross entropy."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest
import torch
from torch.distributions import Categorical
from torch.nn.functional import cross_entropy

from rlhf.errors import TrainingError
from rlhf.flow.rollout import joined
from rlhf.flow.tensors import placed
from rlhf.models.pretrained import load_causal_lm
from tests.models import demonstrations, experience, optimizer, prompts, rollout
from tests.specs import logprobs

ONE_UPDATE = {"rollout_batch_size": 8, "minibatch_size": 8, "num_epochs": 1}


def experienced(policy, written=None):
    written = written or rollout(8)
    return experience(
        written, logprobs(policy, written, 0), torch.zeros(written.response_mask_BR.shape)
    )


def test_the_first_ratio_is_one_and_the_first_kl_nothing(role):
    # correctness 45: exactly 1, 0 and 0 for the same microbatches.
    policy = role("policy", ppo=ONE_UPDATE)
    metrics = policy.improve(experienced(policy), 0)
    assert metrics["policy/ratio_first_max_error"] == 0.0
    assert metrics["policy/ratio"] == 1.0
    assert metrics["policy/approxkl_avg"] == 0.0
    assert metrics["policy/clipfrac_avg"] == 0.0


def test_the_first_ratio_is_one_on_what_the_policy_wrote_itself(role):
    # correctness 45: rounding when minibatches are cut otherwise.
    policy = role("policy")
    metrics = policy.improve(experienced(policy, joined(policy.generate(prompts(8), 0))), 0)
    assert metrics["policy/ratio_first_max_error"] <= 1e-5
    assert metrics["policy/approxkl_avg"] > 0, "later minibatches have moved"


def test_the_first_loss_is_minus_the_mean_advantage(role):
    # correctness 45
    policy = role("policy", ppo=ONE_UPDATE)
    batch = experienced(policy)
    wanted = -float(batch.advantages_BR.sum() / batch.response_lengths_B.sum())
    assert policy.improve(batch, 0)["loss/policy_avg"] == pytest.approx(wanted, rel=1e-5)


def test_weights_that_changed_since_scoring_are_an_error_that_names_the_cause(role):
    # correctness 45, 64: stale weights stop the run at its first minibatch.
    policy = role("policy")
    batch = experienced(policy)
    with torch.no_grad():
        policy.engine.module.network.lm_head.weight.mul_(1.002)
    with pytest.raises(TrainingError, match=r"PPO step 4: .* weights changed in between"):
        policy.improve(batch, 4)


def test_another_temperature_in_scoring_is_an_error(role):
    # correctness 22, 45
    policy = role("policy")
    batch = experienced(role("policy", generation={"temperature": 0.7}))
    with pytest.raises(TrainingError, match="another temperature"):
        policy.improve(batch, 0)


@pytest.mark.parametrize("kind", ("policy", "sft_policy"))
def test_microbatches_change_no_update(role, kind):
    # correctness 6, 55: ragged rows, SFT and PPO.
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
    # correctness 5, 6: the token mean, against transformers' own loss.
    batch, policy = demonstrations(), role("sft_policy")
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
    policy = role("sft_policy", sft={"optimizer": optimizer(lr=1e-2)})
    losses = [policy.imitate(demonstrations())["loss/train"] for _ in range(10)]
    assert losses[-1] < losses[0] - 0.3


def test_while_the_value_warms_up_the_policy_waits(role):
    # correctness 43: the policy's weights stay as they are, bit for bit.
    policy = role("policy", ppo={"value_warmup_steps": 2})
    before, batch = policy.engine.weights(), experienced(policy)
    assert policy.improve(batch, 1).means() == {}
    assert all(torch.equal(w, before[name]) for name, w in policy.engine.weights().items())
    assert policy.improve(batch, 2).means()
    assert any(not torch.equal(w, before[name]) for name, w in policy.engine.weights().items())


def test_the_adapters_are_off_for_the_reference(role):
    lora = {"method": "lora", "rank": 4, "alpha": 8}
    policy, written = role("policy", peft=lora), rollout(5)
    wanted = logprobs(role("reference"), written, 0)
    policy.improve(experienced(policy), 0)
    found = placed([policy.reference_logprobs(written, 0)], len(written))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(logprobs(policy, written, 0), wanted, atol=1e-4)


class Recorder:
    """A learner that remembers its minibatches."""

    def __init__(self, learner):
        self.learner, self.seen = learner, []

    def update(self, objective):
        self.seen.append(objective.batch)
        return self.learner.update(objective)


@pytest.mark.parametrize("kind", ("policy", "value"))
def test_every_row_is_used_once_an_epoch_beside_the_logprobs_it_was_written_with(role, kind):
    # correctness 50, 54: K = 3 epochs, 3 x 2 updates; old log-probabilities and values constant.
    learner = role(kind, ppo={"minibatch_size": 4, "num_epochs": 3})
    batch = experienced(role("policy"))
    batch = replace(batch, old_values_BR=torch.randn(batch.old_values_BR.shape))
    learner.learner = recorder = Recorder(learner.learner)
    learner.improve(batch, 0)
    orders = []
    for seen in recorder.seen:
        same = (seen.tokens_BT[:, None] == batch.tokens_BT).all(-1)
        rows = same.nonzero()[:, 1]
        assert torch.equal(seen.old_logprobs_BR, batch.old_logprobs_BR[rows])
        assert torch.equal(seen.old_values_BR, batch.old_values_BR[rows])
        assert torch.equal(seen.advantages_BR, batch.advantages_BR[rows])
        orders += rows.tolist()
    epochs = [orders[start : start + 8] for start in (0, 8, 16)]
    assert len(recorder.seen) == 6
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.fixture
def num_new_tensors():
    """Count the tensors alive that were not when the test began."""
    gc.collect()
    gc.freeze()

    def count():
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    yield count
    gc.unfreeze()


def test_writing_and_scoring_leave_no_graph_behind(role, num_new_tensors):
    # correctness 28: evaluation mode, no gradient, and as many tensors after each round.
    policy, counts = role("policy"), []
    for step in range(4):
        written = joined(policy.generate(prompts(8), step))
        scored_BR = logprobs(policy, written, 0)
        assert not any(module.training for module in policy.engine.module.network.modules())
        assert not written.sampling_logprobs_BR.requires_grad
        assert not scored_BR.requires_grad
        policy.improve(experienced(policy, written), step)
        del written, scored_BR
        counts.append(num_new_tensors())
    assert counts[0] > 0
    assert counts[1] == counts[2] == counts[3]


def test_it_writes_with_the_weights_it_has_just_learned(role):
    # correctness 64: no second copy to keep in step, and a stale one would be seen at once.
    policy, stale = role("policy"), role("sampler")
    policy.improve(experienced(policy, joined(policy.generate(prompts(8), 0))), 0)

    def gap(writer):
        written = joined(writer.generate(prompts(8), 1))
        return float((written.sampling_logprobs_BR - logprobs(policy, written, 0)).abs().max())

    assert gap(policy) <= 1e-4
    assert gap(stale) > 1e-2
    written = joined(stale.generate(prompts(8), 1))
    old_BR = logprobs(stale, written, 0)
    with pytest.raises(TrainingError, match="weights changed in between"):
        policy.improve(experience(written, old_BR, torch.zeros(old_BR.shape)), 1)


def test_the_figures_are_those_of_independent_formulas(role, folder):
    # correctness 58, 65: one full update, from the network's own logits, response tokens only.
    policy, network = role("policy", ppo=ONE_UPDATE), load_causal_lm(folder())
    batch, temperature = experienced(policy), 0.8
    draw = torch.Generator().manual_seed(4)
    moved_BR = 8e-4 * (2 * torch.rand(batch.old_logprobs_BR.shape, generator=draw) - 1)
    batch = replace(batch, old_logprobs_BR=batch.old_logprobs_BR + moved_BR)
    logprobs, entropies, old, gains = [], [], [], []
    for row in range(len(batch)):
        start, length = int(batch.prompt_lengths_B[row]), int(batch.response_lengths_B[row])
        ids = batch.tokens_BT[row : row + 1, : start + length]
        choice = Categorical(logits=network(input_ids=ids).logits[0, start - 1 : -1] / temperature)
        logprobs.append(choice.log_prob(ids[0, start:]))
        entropies.append(choice.entropy().detach())
        old.append(batch.old_logprobs_BR[row, :length])
        gains.append(batch.advantages_BR[row, :length])
    ratio = (torch.cat(logprobs) - torch.cat(old)).exp()
    loss = -(ratio * torch.cat(gains)).mean()
    loss.backward()
    norm = sum(float(p.grad.double().square().sum()) for p in network.parameters()) ** 0.5
    ratio = ratio.detach()
    metrics = policy.improve(batch, 0)
    assert metrics["policy/entropy_avg"] == pytest.approx(float(torch.cat(entropies).mean()), 1e-5)
    assert metrics["policy/approxkl_avg"] == pytest.approx(
        float(ratio.log().square().mean()) / 2, 1e-2
    )
    assert metrics["policy/clipfrac_avg"] == 0
    assert metrics["policy/ratio"] == pytest.approx(float(ratio.mean()), 5e-6)
    assert metrics["policy/ratio_max"] == pytest.approx(float(ratio.max()), 5e-6)
    assert metrics["loss/policy_avg"] == pytest.approx(loss.item(), 1e-4)
    assert metrics["policy/grad_norm"] == pytest.approx(norm, 1e-4)
