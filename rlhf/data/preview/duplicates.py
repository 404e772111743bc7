"""Duplicates: rows that say the same as another, or nearly so.

Nearly the same are texts whose sets of five words in a row (letters and digits alone, in small
letters) have at least SAME in common (Jaccard). Candidates are found by MinHash in bands (Broder
1997; Leskovec, Rajaraman and Ullman 2020, chapter 3), and each is then compared exactly.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SAME = 0.8
"""Share of five-word runs in common from which two texts are nearly the same."""
WORDS = 5
BANDS, ROWS = 20, 5
"""Texts that have SAME in common are compared with a chance of 1 - (1 - SAME^ROWS)^BANDS > 0.999;
such that have half in common with a chance of 0.47, and are then found to differ."""
MOST = 100_000
"""Texts that are compared; of more the first."""
SHOWN = 3
_WORD = re.compile(r"\w+")
_Hashes = NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A text, an earlier one that it is like, and how much they share."""

    first: int
    second: int
    similarity: float
    """Jaccard index, 1 where all words are the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Texts that are like an earlier one, each named once."""

    same: list[Pair] = field(default_factory=list[Pair])
    """Those with the same words."""
    near: list[Pair] = field(default_factory=list[Pair])
    compared: int = 0
    """Texts that were compared."""


def find_duplicates(texts: Sequence[str], most: int = MOST) -> Duplicates:
    """Return the texts that are like an earlier one.

    Args:
        texts: by index.
        most: of more texts the first so many are compared.
    """
    same: list[Pair] = []
    firsts: dict[tuple[str, ...], int] = {}
    for index, text in enumerate(texts[:most]):
        words = tuple(_WORD.findall(text.lower())) or (text.strip(),)
        first = firsts.setdefault(words, index)
        if first != index:
            same.append(Pair(first=first, second=index, similarity=1.0))
    shingles = {index: _shingles(words) for words, index in firsts.items()}
    near = _near({index: found for index, found in shingles.items() if len(found)})
    return Duplicates(same=same, near=near, compared=min(len(texts), most))


def similarity(left: _Hashes, right: _Hashes) -> float:
    """Return the Jaccard index of two sets."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def _near(shingles: dict[int, _Hashes]) -> list[Pair]:
    """Return each text that is near an earlier one, with the first such."""
    seeds = np.random.default_rng(0)
    odd = seeds.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    add = seeds.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    found: list[Pair] = []
    for index, own in shingles.items():
        least = _least(own, odd, add).reshape(BANDS, ROWS)
        candidates: dict[int, None] = {}
        for band, values in enumerate(least):
            there = buckets.setdefault((band, values.tobytes()), [])
            candidates.update(dict.fromkeys(there))
            there.append(index)
        pair = _nearest(index, own, candidates, shingles)
        if pair is None:
            continue
        found.append(pair)
        for band, values in enumerate(
            least
        ):  # what is like this is like the earlier one, as a rule
            buckets[band, values.tobytes()].pop()
    return found


def _nearest(
    index: int, own: _Hashes, candidates: dict[int, None], shingles: dict[int, _Hashes]
) -> Pair | None:
    for other in sorted(candidates):
        share = similarity(own, shingles[other])
        if share >= SAME:
            return Pair(first=other, second=index, similarity=share)
    return None


def _least(own: _Hashes, odd: _Hashes, add: _Hashes) -> _Hashes:
    """Return the smallest of each hash function over a set."""
    mixed = own[:, None] * odd + add
    mixed ^= mixed >> np.uint64(32)
    return (mixed * np.uint64(0x9E3779B97F4A7C15)).min(axis=0)


def _shingles(words: tuple[str, ...]) -> _Hashes:
    """Return the set of runs of words, each as a number; a shorter text is one run."""
    hashes = np.array([zlib.crc32(word.encode("utf-8", "replace")) for word in words], np.uint64)
    runs = max(1, len(hashes) - WORDS + 1)
    total = np.zeros(runs, np.uint64)
    for place in range(min(WORDS, len(hashes))):
        total = total * np.uint64(0x100000001B3) + hashes[place : place + runs]
    return np.unique(total)
