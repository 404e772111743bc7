"""One-token answers: the best policy is a softmax over the whole vocabulary.

The same task on a real language model is bench/bandit.py, which lends its figures.
"""

from __future__ import annotations

import json

import pytest

from bench.bandit import Bandit
from tests.closed_form.kit import command

SUBJECTS = ("film", "plot", "cast", "score", "scene")
WORDS = ("good", "bad", "fine", "dull", "a long wait", "lovely", "the best of all", "poor")
REWARD = """
def pay(completions, **columns):
    return [min(len(text), 6) / 6 for text in completions]
"""
MODEL = ("hidden_size=64", "num_layers=1", "num_heads=2", "vocab_size=300", "context=32")
SFT = ("sft.batch_size=16", "sft.optimizer.lr=1e-2", "sft.num_epochs=10", "sft.keep=last")
LEARNING = (
    "ppo.num_steps=80",
    "ppo.num_epochs=1",
    "ppo.samples_per_prompt=512",
    "ppo.minibatch_size=2048",
    "policy.optimizer.lr=1e-2",
    "policy.optimizer.eps=1e-3",
    "value.optimizer.lr=1e-2",
)
"""A large epsilon: with a small one AdamW moves the rows of tokens that are hardly ever drawn as
far as all others, on noise alone, and the gap stays above 0.01."""


@pytest.fixture(scope="module")
def fine_tuned(tmp_path_factory):
    """A small Llama that the project has taught sentences about films."""
    home = tmp_path_factory.mktemp("bandit")
    rows = [
        {"prompt": f"The {subject}", "completion": f" was {word}"}
        for subject in SUBJECTS
        for word in WORDS
    ]
    lines = [json.dumps(row) + "\n" for row in rows]
    (home / "demonstrations.jsonl").write_text("".join(lines), encoding="utf-8")
    command(
        "sft",
        f"run_dir={home / 'run'}",
        f"data.demonstrations={home / 'demonstrations.jsonl'}",
        "data.validation_fraction=0",
        "data.test_fraction=0",
        "cluster.backend=in_process",
        "engine.backend=torch",
        "tracking.console=false",
        *(f"policy.new.{setting}" for setting in MODEL),
        *SFT,
    )
    return home / "run" / "sft"


def test_the_policy_becomes_the_tilted_softmax_over_the_whole_vocabulary(fine_tuned, tmp_path):
    # correctness 22, 31: with one token there is nothing but score, KL and the clipped update
    prompts = ("The", "The film", "The plot was", "The cast was a")
    task = Bandit(tmp_path, prompts=prompts, beta=0.25, reward=REWARD)
    command(*task.arguments(*LEARNING, f"policy.path={fine_tuned}"))
    found = task.figures(fine_tuned)
    assert found["best_kl"] > 0.1
    assert found["gap"] <= 0.01
    assert found["kl_error"] <= 0.03
    assert found["value_error"] <= 0.02
