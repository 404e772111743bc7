"""A demo of every kind of data, as a user would bring it: each function here yields rows.

data.prompts=examples/movie_reviews/movie_reviews.py:prompts reads one of them, and
evaluation.judge=examples/movie_reviews/movie_reviews.py:rating judges by people's ratings.
packaged:movie_reviews/prompts and packaged:movie_reviews mean the same from any folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from film_archive import all_rows
from film_sentences import Row
from ridge_judge import RidgeJudge

JUDGE_SEED = 0
"""One judge for all runs, so that their win rates compare."""


def demonstrations() -> list[Row]:
    """Short plain sentences: prompt, completion."""
    return all_rows()["demonstrations"]


def preferences() -> list[Row]:
    """Pairs on one topic: prompt, chosen, rejected, margin."""
    return all_rows()["preferences"]


def preferences_test() -> list[Row]:
    """Pairs of sentences that no training pair has."""
    return all_rows()["preferences_test"]


def prompts() -> list[Row]:
    """Requests to train on: prompt, topic."""
    return all_rows()["prompts"]


def prompts_test() -> list[Row]:
    """Requests kept for evaluation: prompt, topic."""
    return all_rows()["prompts_test"]


def judge() -> list[Row]:
    """Rated sentences that are in no other file: text, rating."""
    return all_rows()["judge"]


class Rating:
    """The rating people would give, -4 to 4: a linear model of ratings that no stage trains on."""

    @cached_property
    def model(self) -> RidgeJudge:
        """Fitted at first use, in seconds."""
        rows = judge()
        texts, ratings = [str(r["text"]) for r in rows], [float(r["rating"]) for r in rows]
        return RidgeJudge.fit(texts, ratings, JUDGE_SEED)

    @property
    def agreement(self) -> dict[str, float]:
        """How well it agrees with people on texts that it was not fitted on."""
        return self.model.held_out

    def __call__(self, completions: Sequence[str | Sequence[Mapping[str, str]]]) -> list[float]:
        """Return one rating a completion, which is a text or messages."""
        return self.model.score(
            [c if isinstance(c, str) else c[-1]["content"] for c in completions]
        )


rating = Rating()
