"""Runs that must gain nothing, lose, or stop at a length: what a rising curve would not show."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from tests.closed_form.kit import Task, ids_of, learning, llama, make_task
from tests.closed_form.tasks import COUNT, FLIPPED, NOTHING, counting

RANDOM = """
import random

DRAW = random.Random(0)

def score(completions, **columns):
    return [DRAW.gauss(0, 1) for text in completions]
"""
FIVE_WORDS = """
def score(completions, **columns):
    return [-abs(len(text.split()) - 5) / 4 for text in completions]
"""


def noisy_value(task: Task) -> str:
    """Write a value model whose first values are noise; return the setting that starts from it."""
    torch.manual_seed(3)
    model = AutoModelForSequenceClassification.from_pretrained(task.home / "model", num_labels=1)
    torch.nn.init.normal_(model.score.weight, std=0.2)
    model.save_pretrained(task.home / "noisy")
    task_files = ("tokenizer.json", "tokenizer_config.json")
    for name in task_files:
        (task.home / "noisy" / name).write_bytes((task.home / "model" / name).read_bytes())
    return f"value.path={task.home / 'noisy'}"


def test_without_a_reward_the_policy_stays_where_it_is(tmp_path):
    # correctness 31, 40: values that are noise at first, whitened, push nowhere in the end
    task = counting(tmp_path, reward=NOTHING, missing_eos_penalty=0.0, horizon=4, beta=0.5)
    run = task.train(*learning(steps=100, batch=128), noisy_value(task))
    assert task.judge(run / "policy").kl <= 0.01


def test_a_random_reward_gains_nothing(tmp_path):
    task = counting(tmp_path, reward=RANDOM, missing_eos_penalty=0.0, horizon=4, beta=0.25)
    run = task.train(*learning(steps=60, batch=512, lr=1e-3))
    (task.home / "reward.py").write_text(COUNT, encoding="utf-8")
    assert task.gap(run / "policy") == pytest.approx(1, abs=0.1)
    reached, best, start = task.judge(run / "policy"), task.best, task.reference
    assert abs(reached.score - start.score) <= 0.1 * (best.score - start.score)


def test_a_flipped_reward_is_followed_downwards(tmp_path):
    task = counting(tmp_path, reward=FLIPPED, horizon=4)
    run = task.train(*learning(steps=50))
    assert task.gap(run / "policy") <= 0.01
    gold_L = 0.5 * task.counts_L("a")
    assert task.expected(run / "policy", gold_L) < task.expected(task.home / "model", gold_L) - 0.05


def test_a_value_role_that_learns_alone_leaves_the_policy_in_the_same_bits(tmp_path):
    # correctness 43, 50: the value goes to the mean reward of the reference, the policy nowhere
    task = counting(tmp_path, horizon=4)
    run = task.train(*learning(steps=30), "ppo.value_warmup_steps=30")
    before = load_file(tmp_path / "model/model.safetensors")
    after = load_file(run / "policy/model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    value = AutoModelForSequenceClassification.from_pretrained(run / "value").eval()
    told = value(torch.tensor([ids_of("b")])).logits.item()
    assert told == pytest.approx(task.reference.score, abs=0.03)


def test_a_policy_learns_without_a_value_role_that_does(tmp_path):
    task = counting(tmp_path, horizon=4)
    run = task.train(*learning(steps=50), "value.optimizer.lr=1e-12")
    assert task.gap(run / "policy") <= 0.05


def test_a_reward_for_length_sets_the_length(tmp_path):
    # correctness 26, 32: EOS is learned as an act, and a cut response is dear
    task = make_task(
        tmp_path,
        llama(3, seed=0),
        partial(
            Task,
            prompts=("b",),
            reward=FIVE_WORDS,
            num_words=3,
            horizon=7,
            beta=0.05,
            missing_eos_penalty=1.0,
        ),
    )
    assert abs(task.reference.length - 6) > 1
    run = task.train(*learning(steps=60))
    reached = task.judge(run / "policy")
    assert reached.length - 1 == pytest.approx(5, abs=0.3)
    assert 1 - reached.ended <= 0.01
