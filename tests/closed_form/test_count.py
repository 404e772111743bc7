"""Independent tokens: how often the rewarded word is written has a formula of its own."""

from __future__ import annotations

import math
from functools import partial

import pytest

from tests.closed_form.kit import Task, gpt2, learning, make_task, never_ending
from tests.closed_form.tasks import COUNT

NUM_WORDS, LENGTH = 8, 4


@pytest.mark.parametrize("beta", [0.5, 0.25])
def test_a_word_is_written_as_often_as_the_formula_says(tmp_path, beta):
    # correctness 31, 44: a uniform reference over V words, c = 1 for every `a`, length fixed
    network = never_ending(gpt2(NUM_WORDS, width=0.0))
    task = make_task(
        tmp_path,
        network,
        partial(
            Task,
            prompts=("b",),
            reward=COUNT.replace("0.5 * ", "1.0 * "),
            num_words=NUM_WORDS,
            horizon=LENGTH,
            beta=beta,
        ),
    )
    weight = math.exp(1 / beta)
    share = weight / (weight + NUM_WORDS - 1)
    kl = share / beta - math.log((weight + NUM_WORDS - 1) / NUM_WORDS)
    assert task.best.kl == pytest.approx(LENGTH * kl, rel=1e-3)
    run = task.train(*learning(steps=60))
    reached = task.judge(run / "policy")
    assert task.expected(run / "policy", task.counts_L("a")) / LENGTH == pytest.approx(
        share, abs=0.01
    )
    assert reached.kl == pytest.approx(LENGTH * kl, rel=0.05)
    assert reached.ended < 1e-9
    assert task.gap(run / "policy") <= 0.01
