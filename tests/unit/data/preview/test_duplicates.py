"""Duplicates: near copies are those that a comparison of every pair finds, and no others."""

from __future__ import annotations

import random
import re

import pytest

from rlhf.data.preview.duplicates import find_duplicates

NOUNS = ["printer", "mailbox", "laptop", "phone", "invoice", "calendar", "password", "screen"]


def shingles(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def jaccard(left, right):
    one, two = shingles(left), shingles(right)
    return len(one & two) / len(one | two)


def texts(seed):
    """Texts of 120 words, some of them others with one to four words changed."""
    draw = random.Random(seed)
    found = [" ".join(draw.choices(NOUNS, k=120)) for _ in range(60)]
    for original in found[:40]:
        words = original.split()
        for place in draw.sample(range(120), draw.randrange(1, 5)):
            words[place] = "changed"
        found.append(" ".join(words))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_near_copies_are_those_of_every_pair(seed):
    rows = texts(seed)
    wanted = {
        later
        for later in range(len(rows))
        for earlier in range(later)
        if jaccard(rows[earlier], rows[later]) >= 0.8
    }
    found = find_duplicates(rows)
    assert {pair.second for pair in found.near} == wanted
    assert 5 < len(wanted) < 40
    for pair in found.near:
        assert pair.similarity == pytest.approx(jaccard(rows[pair.first], rows[pair.second]))


def test_the_same_words_in_other_case_and_marks_are_the_same():
    found = find_duplicates(["Hello, world!", "hello world", "hello  WORLD ?", "hello worlds"])
    assert [(pair.first, pair.second) for pair in found.same] == [(0, 1), (0, 2)]
    assert not found.near


def test_texts_without_a_word_or_with_few_are_compared_too():
    found = find_duplicates(["", "!?", "!?", "a", "a b", "\u4e2d\u6587"])
    assert [(pair.first, pair.second) for pair in found.same] == [(1, 2)]
    assert not found.near


def test_many_copies_of_one_text_name_each_once():
    rows = [f"{' '.join(NOUNS * 8)} {number}" for number in range(300)]
    found = find_duplicates(rows)
    assert [pair.second for pair in found.near] == list(range(1, 300))
    assert {pair.first for pair in found.near} == {0}


def test_of_too_many_texts_the_first_are_compared():
    found = find_duplicates(["a", "b", "c", "a"], most=3)
    assert (found.compared, found.same) == (3, [])
