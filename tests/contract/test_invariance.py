"""How rows are spread changes nothing: not over microbatches, not over ranks, not over shards.

One update's gradient is read from the first moment, (1 - beta1) times it, in the public state.
The yardstick is a role of plain torch in this process that passes all rows at once. Rows are
ragged, so ranks have unlike shares and unlike numbers of microbatches.
"""

from __future__ import annotations

import pytest
import torch

from rlhf.algo.minibatch import microbatches
from rlhf.checkpoint.files import read_tensors
from rlhf.roles.learner import STATE_FILE
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.in_process import InProcessGroup
from rlhf.runtime.timeline import Timeline
from rlhf.stages.ppo import PPO
from rlhf.stages.run import build_terms
from tests.models import (
    demonstrations,
    experience,
    experiment,
    optimizer,
    prompts,
    rankings,
    rollout,
)
from tests.specs import SCALAR, on, reward_mix

NUM_ROWS, LONGEST, NUM_STEPS = 8, 11, 5
ONE_BY_ONE, BY_TWOS, ALL = 1, 2 * LONGEST, 100 * LONGEST
"""engine.max_tokens_per_microbatch under which 1, at least 2, and all 8 rows pass together."""
LEARNERS = ("policy", "value", "sft_policy", "reward_trainer")
ONE_UPDATE = {"rollout_batch_size": NUM_ROWS, "minibatch_size": NUM_ROWS, "num_epochs": 1}
FOUR_UPDATES = {"rollout_batch_size": NUM_ROWS, "minibatch_size": 4, "num_epochs": 2}
LOSSES = ("loss/policy_avg", "loss/value_avg", "objective/kl")

learners = pytest.mark.parametrize("kind", LEARNERS)
budgets = pytest.mark.parametrize("max_tokens", (ONE_BY_ONE, BY_TWOS, ALL))
stages = pytest.mark.parametrize("stage", (0, 1, 2, 3))
slots = pytest.mark.parametrize("at", ("one", "two", "four"))


def here():
    """A group in this process."""
    return InProcessGroup("policy", Timeline())


@pytest.fixture(scope="module")
def play(folder):
    """Make a role on a group; return its port."""

    def make(group, kind, *, max_tokens=ALL, stage=0, learn=ONE_UPDATE):
        backend = "torch" if isinstance(group, InProcessGroup) else "deepspeed"
        engine = {"max_tokens_per_microbatch": max_tokens, "zero_stage": stage, "backend": backend}
        # No update is clipped, so that the first moment holds the gradient itself.
        adamw = {"optimizer": optimizer(max_grad_norm=1e9)}
        learned = dict.fromkeys(("policy", "value", "sft", "reward_model"), adamw)
        asked = experiment(backend, engine=engine, ppo=learn, **learned)
        path = folder("llama", "classifier" if kind in SCALAR else "causal")
        return on(group, kind, path, asked)

    return make


def gradient(port, kind, batch, home):
    """Take one update; give its gradient as one vector, float64, in the order of the names."""
    if kind == "sft_policy":
        port.imitate(demonstrations(NUM_ROWS)).result()
    elif kind == "reward_trainer":
        port.rank(rankings(NUM_ROWS)).result()
    else:
        port.improve(batch, 0).result()
    port.save_state(home)
    state = read_tensors(home / STATE_FILE)
    assert int(state["num_updates"]) == 1
    moments = sorted(name for name in state if name.startswith("exp_avg/"))
    return torch.cat([state[name].double().flatten() for name in moments]) / 0.1


def error(got, wanted):
    """Relative, over all weights together."""
    return float((got - wanted).norm() / wanted.norm())


def five_steps(play, policy, value, **asked):
    """Take five PPO steps; give their losses, and how far the policy has moved, a row a step."""
    stage = PPO(
        prompts=lambda step: prompts(NUM_ROWS, first_sample=NUM_ROWS * step, seed=step),
        policy=play(policy, "policy", learn=FOUR_UPDATES, **asked),
        reference=play(here(), "reference"),
        reward=RewardSum(play(here(), "reward"), reward_mix("model")),
        value=play(value, "value", learn=FOUR_UPDATES, **asked),
        terms=build_terms(experiment(ppo={"num_steps": NUM_STEPS, **FOUR_UPDATES})),
    )
    reports = [report.means() for report in stage.steps(0)]
    return torch.tensor([[report[name] for name in LOSSES] for report in reports])


@pytest.fixture(scope="module")
def batch(play):
    """Eight ragged rows with the logprobs and values of the roles that will learn from them."""
    written = rollout(NUM_ROWS)
    logprobs_BR = play(here(), "policy").step_logprobs(written, 0).result()
    values_BR = play(here(), "value").values(written).result()
    return experience(written, logprobs_BR, values_BR)


@pytest.fixture(scope="module")
def yardstick(play, batch, tmp_path_factory):
    """The gradient of each kind of learning, all rows at once."""
    home = tmp_path_factory.mktemp("yardstick")
    return {kind: gradient(play(here(), kind), kind, batch, home) for kind in LEARNERS}


@pytest.fixture(scope="module")
def losses(play):
    """The losses of five steps, all rows of a minibatch at once."""
    found = five_steps(play, here(), here())
    assert found[-1, 2] > 0.02, "the policy has not moved"
    assert (found[1:] - found[:-1]).abs().amax(0).min() > 1e-3, "the losses stand still"
    return found


def test_the_budgets_are_microbatches_of_one_two_and_eight_ragged_rows():
    lengths_B = rollout(NUM_ROWS).lengths_B
    assert int(lengths_B.max()) == LONGEST
    assert len(lengths_B.unique()) == 4
    packs = [microbatches(lengths_B, budget) for budget in (ONE_BY_ONE, BY_TWOS, ALL)]
    assert [len(rows[0]) for rows in packs] == [1, 2, NUM_ROWS]
    assert [len(rows) for rows in packs] == [NUM_ROWS, 3, 1]


@learners
@budgets
def test_a_gradient_does_not_depend_on_the_microbatch(
    play, batch, yardstick, kind, max_tokens, tmp_path
):
    # correctness 6, 55: the gradients of microbatches of 1, 2 and 8 ragged rows are one
    group = play(here(), kind, max_tokens=max_tokens)
    assert yardstick[kind].norm() > 0.1
    assert error(gradient(group, kind, batch, tmp_path), yardstick[kind]) <= 3e-6


@pytest.mark.ray
@learners
@slots
@stages
def test_a_gradient_does_not_depend_on_ranks_or_shards(
    play, slot, batch, yardstick, kind, at, stage, tmp_path
):
    # correctness 6, 55: 1, 2 and 4 ranks, ZeRO 0 to 3, microbatches of 1 and of 2
    group = play(slot(at), kind, max_tokens=(ONE_BY_ONE, BY_TWOS)[stage % 2], stage=stage)
    assert error(gradient(group, kind, batch, tmp_path), yardstick[kind]) <= 3e-6


@budgets
def test_five_steps_do_not_depend_on_the_microbatch(play, losses, max_tokens):
    # correctness 55: the losses of five PPO steps are the same at any microbatch
    got = five_steps(play, here(), here(), max_tokens=max_tokens)
    torch.testing.assert_close(got, losses, rtol=0, atol=1e-5)


@pytest.mark.ray
@pytest.mark.parametrize("seating", (("one", "two"), ("two", "one"), ("four", "two")), ids="-".join)
@stages
def test_five_steps_do_not_depend_on_ranks_or_shards(play, slot, losses, seating, stage):
    # correctness 55: policy and value on 1 and 2, 2 and 1, 4 and 2 ranks, ZeRO 0 to 3
    policy, value = (slot(at) for at in seating)
    got = five_steps(play, policy, value, max_tokens=BY_TWOS, stage=stage)
    torch.testing.assert_close(got, losses, rtol=0, atol=1e-5)
