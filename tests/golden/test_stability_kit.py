"""What may be added to the clipped surrogate, through a real policy: each does what its paper says.

PTX, the average of weights, the early stop, the aggregation modes and the other clips.
"""

from __future__ import annotations

import pytest
import torch

from rlhf.models.pretrained import load_causal_lm
from tests.models import demonstrations, experience, optimizer, rollout
from tests.specs import logprobs

ONE_UPDATE = {"rollout_batch_size": 8, "minibatch_size": 8, "num_epochs": 1}


def experienced(policy):
    written = rollout(8)
    return experience(
        written, logprobs(policy, written, 0), torch.zeros(written.response_mask_BR.shape)
    )


STEEP = {"optimizer": optimizer(max_grad_norm=1e9)}


def moved(policy):
    """The gradient of the only update so far, as AdamW's first moment holds it."""
    state = policy.engine.state()
    return torch.cat([v.flatten() for k, v in state.items() if k.startswith("exp_avg/")]) / 0.1


def test_the_ptx_loss_adds_the_gradient_of_the_language_model(role):
    # correctness 59: gradient == PPO + coefficient * LM.
    texts, coef = demonstrations(8), 0.7
    made = {"ppo": {**ONE_UPDATE, "ptx_coef": coef}, "policy": STEEP, "sft": STEEP}
    made["data"] = {"pretraining": "texts.jsonl"}
    policy, plain = role("policy", **made), role("policy", **made)
    pupil = role("sft_policy", **made)
    report = policy.improve(experienced(policy), 0, texts)
    plain.improve(experienced(plain), 0)
    learned = pupil.imitate(texts)
    wanted, found = moved(plain) + coef * moved(pupil), moved(policy)
    assert ((found - wanted).norm() / wanted.norm()).item() < 1e-6
    assert report["loss/ptx_avg"] == pytest.approx(learned["loss/train"], rel=1e-6)


def test_without_texts_the_ptx_coefficient_changes_no_bit(role):
    # correctness 59: gamma 0 is plain PPO.
    asked = {"data": {"pretraining": "texts.jsonl"}}
    one = role("policy", ppo={"ptx_coef": 0.0}, **asked)
    other = role("policy")
    for policy in (one, other):
        policy.improve(experienced(policy), 0)
    for name, weight in other.engine.weights().items():
        assert torch.equal(one.engine.weights()[name], weight)


def test_the_average_is_the_closed_form_and_what_is_saved(role, tmp_path):
    # correctness 60: after n steps, decay^n w_0 + (1 - decay) sum decay^(n-i) w_i.
    policy, decay = role("policy", ppo={"ema_decay": 0.6}), 0.6
    seen = [policy.engine.weights()]
    for step in range(3):
        policy.improve(experienced(policy), step)
        seen.append(policy.engine.weights())
    policy.save(tmp_path)
    saved = dict(load_causal_lm(str(tmp_path)).named_parameters())
    for name, first in seen[0].items():
        wanted = decay**3 * first + sum(
            (1 - decay) * decay ** (3 - i) * seen[i][name] for i in (1, 2, 3)
        )
        torch.testing.assert_close(saved[name.removeprefix("network.")].data, wanted)
    assert any(not torch.equal(seen[3][f"network.{n}"], w) for n, w in saved.items())


def test_the_average_goes_on_after_a_resume(role, tmp_path):
    # correctness 60, 66
    straight = role("policy", ppo={"ema_decay": 0.6})
    straight.improve(experienced(straight), 0)
    straight.save_state(tmp_path / "state")
    resumed = role("policy", ppo={"ema_decay": 0.6})
    resumed.load_state(tmp_path / "state")
    for name, policy in (("one", straight), ("other", resumed)):
        policy.improve(experienced(policy), 1)
        policy.save(tmp_path / name)
    one, other = (load_causal_lm(str(tmp_path / name)) for name in ("one", "other"))
    for name, weight in one.named_parameters():
        assert torch.equal(dict(other.named_parameters())[name], weight)


def test_a_pupil_saves_the_weights_it_has(role, tmp_path):
    pupil = role("sft_policy", ppo={"ema_decay": 0.6})
    pupil.imitate(demonstrations())
    pupil.save(tmp_path)
    saved = dict(load_causal_lm(str(tmp_path)).named_parameters())
    for name, weight in pupil.engine.weights().items():
        assert torch.equal(saved[name.removeprefix("network.")].data, weight)


def test_epochs_stop_once_the_policy_has_moved_too_far(role):
    # correctness 62: at the minibatch whose approximate KL is above the limit, and counted.
    many = {"rollout_batch_size": 8, "minibatch_size": 4, "num_epochs": 4}
    free = role("policy", ppo=many)
    limit = free.improve(experienced(free), 0)["policy/approxkl_avg"]
    assert limit > 0
    held = role("policy", ppo={**many, "max_approx_kl": limit})
    report = held.improve(experienced(held), 0)
    assert 1 < report["policy/num_updates"] < 8
    loose = role("policy", ppo={**many, "max_approx_kl": 1e6})
    assert loose.improve(experienced(loose), 0)["policy/num_updates"] == 8


@pytest.mark.parametrize("mode", ("seq_mean_token_mean", "seq_mean_token_sum"))
def test_aggregation_is_the_papers_mean(role, mode):
    # correctness 47: against the formula, ragged, one row a microbatch.
    policy = role(
        "policy",
        ppo={**ONE_UPDATE, "loss_aggregation": mode},
        engine={"backend": "torch", "max_tokens_per_microbatch": 1},
    )
    batch = experienced(policy)
    sum_B, length_B = batch.advantages_BR.sum(1), batch.response_lengths_B
    wanted = -(sum_B / length_B if mode.endswith("mean") else sum_B).mean()
    assert policy.improve(batch, 0)["loss/policy_avg"] == pytest.approx(float(wanted), rel=1e-5)


def test_the_constant_divisor_is_the_longest_response_allowed(role):
    # correctness 47: Dr. GRPO
    ppo = {**ONE_UPDATE, "loss_aggregation": "seq_mean_token_sum_norm"}
    policy = role("policy", ppo=ppo, generation={"max_new_tokens": 11})
    batch = experienced(policy)
    wanted = -float(batch.advantages_BR.sum(1).mean() / 11)
    assert policy.improve(batch, 0)["loss/policy_avg"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"clip_range": 0.01}, "policy/clipfrac_avg"),
        ({"clip_range_high": 0.01}, "policy/clipfrac_avg"),
        ({"clip_range": 1e6, "dual_clip": 1.01}, "policy/dual_clipfrac_avg"),
    ],
)
def test_clips_bind_where_they_are_set(role, changes, metric):
    # correctness 46, 47: clip-higher and dual clip reach the loss.
    many = {"num_epochs": 4, "clip_range": 1e6}
    loose = role("policy", ppo=many)
    assert loose.improve(experienced(loose), 0)[metric] == 0
    held = role("policy", ppo={**many, **changes})
    assert held.improve(experienced(held), 0)[metric] > 0


@pytest.mark.parametrize("kind", ("sft_policy", "policy"))
def test_a_state_without_an_average_is_taken_up(role, tmp_path, kind):
    # correctness 60, 66: SFT keeps none, and PPO none while the value role warms up.
    asked = {"ppo": {"ema_decay": 0.6, "value_warmup_steps": 1}}
    learner, again = role(kind, **asked), role(kind, **asked)
    if kind == "sft_policy":
        learner.imitate(demonstrations())
    else:
        learner.improve(experienced(learner), 0)
    learner.save_state(tmp_path)
    again.load_state(tmp_path)
    for name, weight in learner.engine.weights().items():
        assert torch.equal(again.engine.weights()[name], weight)
