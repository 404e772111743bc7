"""Responses that may end at any token: objective, length, value and spread at the optimum."""

from __future__ import annotations

import pytest

from tests.closed_form.kit import learning, metrics
from tests.closed_form.tasks import counting

RAGGED = ("b", "a c", "d c b a")


@pytest.fixture(scope="module")
def long_run(tmp_path_factory):
    """Four inner epochs over 200 steps."""
    task = counting(tmp_path_factory.mktemp("variable_length"), beta=0.25)
    return task, task.train(*learning(steps=200, lr=1.5e-3), "ppo.num_epochs=4")


def test_the_policy_is_the_best_there_is(long_run):
    # correctness 31, 32, 33, 37: EOS is a token like any other, with its share of reward and KL
    task, run = long_run
    assert task.gap(run / "policy") <= 0.01
    reached = task.judge(run / "policy")
    assert reached.length == pytest.approx(task.best.length, abs=0.1)
    assert reached.ended == pytest.approx(task.best.ended, abs=0.01)
    assert reached.kl == pytest.approx(task.best.kl, rel=0.05)


def test_the_shaped_return_is_nearly_the_same_for_every_response(long_run):
    # correctness 31: at the best policy r - beta log(pi / pi_ref) is one number, beta log Z
    task, run = long_run
    assert task.judge(run / "policy").spread <= 0.05 * task.reference.spread


def test_the_value_of_the_prompt_is_the_log_partition(long_run):
    # correctness 38, 51: V(prompt) = beta log Z, on the scale of what there was to gain
    task, run = long_run
    assert task.value_error(run / "value") <= 0.02


def test_four_inner_epochs_stay_near_the_old_policy(long_run):
    # correctness 44, 45, 54: the ratio and its clip hold over 800 updates
    _, run = long_run
    seen = metrics(run)
    assert len(seen["policy/ratio_max"]) == 200
    assert max(seen["policy/ratio_max"]) <= 2
    assert max(seen["policy/approxkl_avg"]) <= 0.05
    assert max(seen["policy/ratio_first_max_error"]) <= 1e-4


def test_temperature_and_ragged_prompts(tmp_path):
    # correctness 3, 22: one temperature in sampling, ratio, KL; padding says nothing
    task = counting(tmp_path, temperature=0.7, prompts=RAGGED, horizon=4, beta=0.25)
    run = task.train(*learning(steps=80, batch=384, num_prompts=len(RAGGED)))
    assert task.gap(run / "policy") <= 0.01
    assert task.judge(run / "policy").length == pytest.approx(task.best.length, abs=0.1)
