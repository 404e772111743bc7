"""RidgeJudge: learns made-up ratings, in closed form, without paying for length."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ridge_judge import PENALTY, RidgeJudge, features

GOOD, BAD = ("good", "fine", "lovely", "superb"), ("bad", "dull", "awful", "poor")
NOUNS = ("film", "plot", "cast", "scene", "score")


def rated(count: int = 200) -> tuple[list[str], list[float]]:
    draw = np.random.default_rng(0)
    texts, ratings = [], []
    for _ in range(count):
        liked = draw.random() < 0.5
        word = draw.choice(GOOD if liked else BAD)
        texts.append(f"the {draw.choice(NOUNS)} was {word} and the {draw.choice(NOUNS)} long")
        ratings.append(2.0 if liked else -2.0)
    return texts, ratings


def test_it_agrees_with_ratings_it_has_not_seen():
    judge = RidgeJudge.fit(*rated(), seed=0)
    assert judge.held_out["pair_accuracy"] > 0.99
    assert judge.held_out["correlation"] > 0.9
    assert judge.held_out["num_texts"] == 30
    good, bad = judge.score(["a superb film", "an awful film"])
    assert good > bad


def test_a_text_of_unknown_words_scores_the_mean():
    judge = RidgeJudge.fit(*rated(), seed=0)
    assert judge.score(["", "zzz qqq"]) == [judge.mean, judge.mean]


def test_a_longer_text_of_the_same_words_scores_the_same():
    judge = RidgeJudge.fit(*rated(), seed=0)
    once, often = judge.score(["good film", "good film " * 8])
    assert often < 1.5 * once


def test_it_is_the_ridge_solution():
    texts, ratings = rated(40)
    judge = RidgeJudge.fit(texts, ratings, seed=3)
    order = np.random.default_rng(3).permutation(40)[max(1, int(0.15 * 40)) :]
    train = [texts[i] for i in order]
    target = np.array([ratings[i] for i in order])
    names = list(judge.idf)
    matrix = np.zeros((len(train), len(names)))
    for row, text in enumerate(train):
        for name, count in features(text).items():
            matrix[row, names.index(name)] = count * judge.idf[name]
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    square = matrix.T @ matrix + PENALTY * np.eye(len(names))
    expected = np.linalg.solve(square, matrix.T @ (target - target.mean()))
    found = np.array([judge.coefficients[name] for name in names])
    assert np.allclose(found, expected, atol=1e-6)


def test_negation_reaches_to_the_end_of_its_clause():
    assert "not good!" in features("it was not very good")
    assert "not good!" not in features("it was not long, good")
    assert "not good!" in features("it isn't good")
    assert "not good!" not in features("good")


def test_a_long_word_counts_by_its_starts():
    assert {"wonderful", "^wond", "^wonde", "^wonder"} <= set(features("wonderful"))


def test_what_cannot_be_computed_is_nan_not_a_guess():
    judge = RidgeJudge.fit(*rated(), seed=0)
    alone = judge.agreement(["good film"], [1.0])
    assert math.isnan(alone["pair_accuracy"])
    assert math.isnan(alone["correlation"])


@pytest.mark.parametrize(("texts", "ratings"), [([], []), (["one"], [1.0]), (["a", "b"], [1.0])])
def test_too_few_or_unequal_is_refused(texts, ratings):
    with pytest.raises(ValueError, match="need at least 2 texts"):
        RidgeJudge.fit(texts, ratings, seed=0)
