"""Judges by name: a Python function, or one clear refusal."""

from __future__ import annotations

import pytest

from rlhf.errors import ConfigError
from rlhf.evaluation.judge import RidgeJudge
from rlhf.evaluation.judges import RatingsJudge, load_judge


def test_a_function_judges_and_claims_no_agreement(tmp_path):
    file = tmp_path / "judge.py"
    file.write_text(
        "def length(completions, **columns):\n    return [len(c) for c in completions]\n"
    )
    judge = load_judge(f"{file}:length", seed=0, timeout_s=60.0)
    assert judge.score(["p", "p"], ["a", "abc"], [{}, {}]) == [1.0, 3.0]
    assert not judge.agreement


def test_ratings_judge_reads_the_response_alone():
    model = RidgeJudge.fit(["good film"] * 4 + ["bad film"] * 4, [1.0] * 4 + [-1.0] * 4, seed=0)
    judge = RatingsJudge(model, model.held_out)
    scores = judge.score(["bad", "good"], ["a good film", "a bad film"], [{}, {}])
    assert scores[0] > scores[1]
    assert set(judge.agreement) == {"pair_accuracy", "correlation", "num_texts", "num_pairs"}


@pytest.mark.parametrize("spec", ["nonsense", "packaged:movies", "judge.py"])
def test_anything_else_names_what_is_legal(spec):
    with pytest.raises(ConfigError, match=f"evaluation.judge={spec} .*packaged:movie_reviews"):
        load_judge(spec, seed=0, timeout_s=60.0)
