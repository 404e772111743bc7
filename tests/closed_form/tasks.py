"""The rewards and the small task that several of the closed-form tests share."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.closed_form.kit import Task, gpt2, make_task

COUNT = """
def score(completions, **columns):
    return [0.5 * text.split().count("a") for text in completions]
"""
"""Half a point for every `a`."""
FLIPPED = COUNT.replace("0.5", "-0.5")
NOTHING = """
def score(completions, **columns):
    return [0.0] * len(completions)
"""


def counting(home: Path, *, reward: str = COUNT, seed: int = 0, **changes: object) -> Task:
    """Make the task of counting `a` in responses of up to five tokens, by a small GPT-2."""
    asked = {
        "prompts": ("b",),
        "num_words": 4,
        "horizon": 5,
        "beta": 0.5,
        "missing_eos_penalty": 1.0,
        **changes,
    }
    return make_task(home, gpt2(4, seed=seed), partial(Task, reward=reward, **asked))
