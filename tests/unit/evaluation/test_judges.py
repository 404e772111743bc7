"""Judges by name: a Python function, or one clear refusal."""

from __future__ import annotations

import pytest

from rlhf.errors import ConfigError
from rlhf.evaluation.judges import load_judge

FUNCTIONS = """
def length(completions):
    return [len(c) for c in completions]
def agrees(completions):
    return [0.0 for c in completions]
agrees.agreement = {"pair_accuracy": 0.75, "num_pairs": 12}
def boasts(completions):
    return [0.0 for c in completions]
boasts.agreement = {"pair_accuracy": "high"}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "judge.py"
    path.write_text(FUNCTIONS)
    return path


def test_a_function_judges_and_claims_no_agreement(file):
    judge = load_judge(f"{file}:length", timeout_s=60.0)
    assert judge.score(["p", "p"], ["a", "abc"], [{}, {}]) == [1.0, 3.0]
    assert not judge.agreement
    assert judge.files == [file]


def test_a_function_may_say_how_well_it_agrees_with_people(file):
    judge = load_judge(f"{file}:agrees", timeout_s=60.0)
    assert judge.agreement == {"pair_accuracy": 0.75, "num_pairs": 12}
    with pytest.raises(ConfigError, match=r"judge.py:boasts: its attribute `agreement` is no dict"):
        load_judge(f"{file}:boasts", timeout_s=60.0)


@pytest.mark.parametrize("spec", ["nonsense", "judge.py"])
def test_anything_else_names_what_is_legal(spec):
    with pytest.raises(ConfigError, match=f"evaluation.judge={spec} .*FILE.py:NAME"):
        load_judge(spec, timeout_s=60.0)


def test_an_example_that_is_not_there_names_those_that_are():
    with pytest.raises(ConfigError, match="packaged:movies.*legal: packaged:movie_reviews, "):
        load_judge("packaged:movies", timeout_s=60.0)
