"""A judge fit on human ratings that no training stage ever sees.

Ridge regression of the mean human rating on tf-idf features of a text: words, word starts, word
pairs and words after a negation. Every feature vector has length 1, so a longer text does not score
higher for having more good words. Solved by conjugate gradients on the sparse features, in seconds.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PENALTY: Final = 0.6  # ridge coefficient, in units of a text's squared length (1)
ITERATIONS: Final = 100  # of conjugate gradients, at most; agrees with a dense solve to 1e-10
HELD_OUT: Final = 0.15  # share of the rated texts that the fit does not see
MIN_MARGIN: Final = 1.0  # two texts are compared if people rated them at least this far apart
NEGATION_REACH: Final = 4  # words
NEGATIONS: Final = frozenset(
    ["not", "no", "never", "n't", "without", "neither", "nor", "hardly", "lacks", "barely"]
)
CLAUSE_ENDS: Final = frozenset([*".,;:!?", "but"])
WEIGHTS: Final = {"word": 1.0, "pair": 0.5, "negated": 0.7, "start": 0.7}


@dataclass(frozen=True)
class RidgeJudge:
    """A linear model of what people think of a text, from -4 (bad) to 4 (good).

    Attributes:
        mean: Mean rating; the score of a text with no known feature.
        idf: Weight of each known feature: the rarer, the higher.
        coefficients: Rating points per unit of each feature.
        held_out: Agreement with people on rated texts that the fit did not see.
    """

    mean: float
    idf: dict[str, float]
    coefficients: dict[str, float]
    held_out: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, texts: Sequence[str], ratings: Sequence[float], seed: int) -> RidgeJudge:
        """Fit on most of the texts and measure on the others.

        Args:
            texts: Rated texts; at least 2.
            ratings: Mean human rating of each.
            seed: Determines which texts are held out for measuring.
        """
        if len(texts) != len(ratings) or len(texts) < 2:
            raise ValueError(
                f"need at least 2 texts and one rating each: {len(texts)} texts, "
                f"{len(ratings)} ratings"
            )
        order: list[int] = np.random.default_rng(seed).permutation(len(texts)).tolist()
        num_test = max(1, int(HELD_OUT * len(texts)))
        test, train = order[:num_test], order[num_test:]
        judge = cls._fit_all([texts[i] for i in train], np.array([ratings[i] for i in train]))
        held_out = judge.agreement([texts[i] for i in test], [ratings[i] for i in test])
        return cls(judge.mean, judge.idf, judge.coefficients, held_out)

    @classmethod
    def _fit_all(cls, texts: Sequence[str], ratings: Floats) -> RidgeJudge:
        counts = [features(text) for text in texts]
        seen = Counter(name for count in counts for name in count)
        idf = {name: 1 + math.log((1 + len(texts)) / (1 + df)) for name, df in seen.items()}
        column = {name: index for index, name in enumerate(idf)}
        rows, columns, values = [], [], []
        for row, count in enumerate(counts):
            for name, value in _normalize(count, idf).items():
                rows.append(row)
                columns.append(column[name])
                values.append(value)
        mean = float(ratings.mean())
        coefficients = _solve_ridge(
            np.array(rows), np.array(columns), np.array(values), ratings - mean, len(idf)
        )
        return cls(mean, idf, dict(zip(idf, coefficients.tolist(), strict=True)))

    def score(self, texts: Sequence[str]) -> list[float]:
        """Predict the mean human rating of each text."""
        vectors = [_normalize(features(text), self.idf) for text in texts]
        return [
            self.mean + sum(self.coefficients[name] * value for name, value in vector.items())
            for vector in vectors
        ]

    def agreement(self, texts: Sequence[str], ratings: Sequence[float]) -> dict[str, float]:
        """Compare the scores with human ratings.

        Returns:
            ``pair_accuracy``: share of pairs rated at least ``MIN_MARGIN`` apart that the judge
            puts in the same order; ``correlation``: Pearson's; ``num_texts`` and ``num_pairs``.
            A figure that cannot be computed is NaN.
        """
        scores, human = np.array(self.score(texts)), np.array(ratings, dtype=np.float64)
        apart = human[:, None] - human[None, :] >= MIN_MARGIN
        gaps = (scores[:, None] - scores[None, :])[apart]
        spread = scores.std() * human.std() if len(texts) else 0.0
        return {
            "pair_accuracy": float(np.mean((gaps > 0) + 0.5 * (gaps == 0)))
            if len(gaps)
            else np.nan,
            "correlation": float(np.corrcoef(scores, human)[0, 1]) if spread else np.nan,
            "num_texts": len(texts),
            "num_pairs": len(gaps),
        }


def features(text: str) -> dict[str, float]:
    """Count a text's words, word starts, word pairs and negated words, each by its weight."""
    tokens = re.findall(r"n't|[^\W_]+|[.,;:!?]", text.lower().replace("n't", " n't"))
    words = [token for token in tokens if token not in ".,"]
    counts: dict[str, float] = defaultdict(float)
    for word in words:
        counts[word] += WEIGHTS["word"]
        for length in (4, 5, 6):
            if len(word) > length:
                counts["^" + word[:length]] += WEIGHTS["start"]
    for first, second in zip(["<s>", *tokens], [*tokens, "</s>"], strict=True):
        counts[f"{first} {second}"] += WEIGHTS["pair"]
    for word in _negated(tokens):
        counts["not " + word + "!"] += WEIGHTS["negated"]
    return dict(counts)


def _negated(tokens: Sequence[str]) -> Iterator[str]:
    """Give the few words after each negation, up to the end of its clause."""
    reach = 0
    for token in tokens:
        if token in CLAUSE_ENDS:
            reach = 0
        elif reach:
            reach -= 1
            yield token
        if token in NEGATIONS:
            reach = NEGATION_REACH


def _normalize(counts: dict[str, float], idf: dict[str, float]) -> dict[str, float]:
    """Weight the known features by rarity and scale them to a vector of length 1."""
    vector = {name: count * idf[name] for name, count in counts.items() if name in idf}
    length = sum(value * value for value in vector.values()) ** 0.5
    return {name: value / length for name, value in vector.items()}


def _solve_ridge(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: Floats,
    targets: Floats,
    num_columns: int,
) -> Floats:
    """Minimise |X w - targets|^2 + PENALTY |w|^2 for the sparse X; gives w.

    Works in the dual, (X X' + PENALTY I) a = targets and w = X' a, by conjugate gradients.
    """

    def transposed(dual: Floats) -> Floats:
        sums = np.bincount(columns, weights=values * dual[rows], minlength=num_columns)
        return sums.astype(np.float64)

    dual, residual = np.zeros_like(targets), targets.copy()
    direction, size = residual.copy(), float(residual @ residual)
    for _ in range(ITERATIONS):
        if size < 1e-18:
            break
        primal = transposed(direction)
        image = np.bincount(rows, weights=values * primal[columns], minlength=len(targets))
        image += PENALTY * direction
        step = size / float(direction @ image)
        dual += step * direction
        residual -= step * image
        previous, size = size, float(residual @ residual)
        direction = residual + size / previous * direction
    return transposed(dual)
