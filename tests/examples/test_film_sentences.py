"""Rated film sentences: how they are read, restored, and kept apart from the judge."""

from __future__ import annotations

import itertools
import re

import pytest
from film_sentences import FILES, build_rows, parse_snippets, restore

from rlhf.errors import DataError

ADJECTIVES = ("dull", "sweet", "clever", "tired", "warm", "loud")
NOUNS = ("movie", "plot", "cast", "ending", "surprise")
ENDINGS = ("for children", "from the start", "without any charm", "and nothing more")


def tables():
    """Two hundred and forty lines: 120 sentences, each twice, with other marks and ratings."""
    sentences = [
        f"a {first} {noun} {end} {mark}"
        for mark in (".", "!")
        for first, noun, end in itertools.product(ADJECTIVES, NOUNS, ENDINGS)
    ]
    means = [((7 * number) % 17 - 8) / 2 for number in range(len(sentences))]
    numbered = list(enumerate(zip(means, sentences, strict=True), start=1))
    texts = "".join(f"{number}\t{mean}\t{text}\n" for number, (mean, text) in numbered)
    ratings = "".join(f"{number}\t{mean}\t0.5\t[1, 2, 3]\n" for number, (mean, _) in numbered)
    return texts, ratings


@pytest.fixture(scope="module")
def rows():
    return build_rows(parse_snippets(*tables()))


def words(rows, *columns):
    """Each sentence as its letters, so that two spellings of one sentence are the same."""
    return {" ".join(re.findall("[a-z]+", row[name].lower())) for row in rows for name in columns}


def test_a_line_becomes_a_snippet():
    (snippet,) = parse_snippets("4\t1.5\ta `fine' film", "4\t1.5\t0.25\t[1, 2, 1, 2]")
    assert (snippet.id, snippet.mean, snippet.sd, snippet.num_raters) == (4, 1.5, 0.25, 4)
    assert snippet.text == "A 'fine' film."
    assert snippet.words == ("a", "fine", "film")


@pytest.mark.parametrize(
    ("texts", "ratings", "reason"),
    [
        ("1\t0\ta\n2\t0\tb", "1\t0\t0\t[]", "2 sentences but 1 lines"),
        ("1\t0\ta\n2\t0\tb", "1\t0\t0\t[]\n3\t0\t0\t[]", "line 2: ids 2 and 3 differ"),
        ("1\t0", "1\t0\t0\t[]", "line 1"),
        ("1\t0\ta", "1\thigh\t0\t[]", "line 1: .*high"),
        ("1\t0\ta", "1\t0\t0\t[1,", "line 1"),
    ],
)
def test_a_broken_table_names_its_line(texts, ratings, reason):
    with pytest.raises(DataError, match=reason):
        parse_snippets(texts, ratings)


@pytest.mark.parametrize(
    ("flat", "whole"),
    [
        ("it 's ``fine''", "It 's ''fine\"."),
        ("a `good' film", "A 'good' film."),
        ("''a good film''", "A good film."),
        ("''good'' is not ''great''", '"good" is not "great".'),
        ("long  but good", "Long - but good."),
        ("long,  but good!", "Long, but good!"),
        ("1999\u20132002", "1999-2002."),
        ("... and a\xa0good one?", "And a good one?"),
        ("he said ''no.''", 'He said "no."'),
    ],
)
def test_quotes_dashes_and_full_stops_are_restored(flat, whole):
    assert restore(flat) == whole


def test_every_file_has_rows_with_its_columns(rows):
    columns = {
        "demonstrations": {"prompt", "completion"},
        "preferences": {"prompt", "chosen", "rejected", "margin"},
        "preferences_test": {"prompt", "chosen", "rejected", "margin"},
        "prompts": {"prompt", "topic"},
        "prompts_test": {"prompt", "topic"},
        "judge": {"text", "rating"},
    }
    assert set(rows) == set(FILES) == set(columns)
    for name, found in rows.items():
        assert found, f"{name} has no rows"
        assert all(set(row) == columns[name] for row in found)


def test_no_sentence_of_the_judge_is_in_another_file(rows):
    judged = words(rows["judge"], "text")
    pairs, test_pairs = (
        words(rows[name], "chosen", "rejected") for name in ("preferences", "preferences_test")
    )
    assert not judged & words(rows["demonstrations"], "completion")
    assert not judged & pairs
    assert not judged & test_pairs
    assert not pairs & test_pairs
    assert 0.2 < len(judged) / 120 < 0.6


def test_no_test_prompt_is_trained_on(rows):
    held_out = {row["prompt"] for row in rows["prompts_test"]}
    trained = ("demonstrations", "preferences", "prompts")
    assert not held_out & {row["prompt"] for name in trained for row in rows[name]}


def test_the_chosen_sentence_was_rated_clearly_higher(rows):
    mean = {snippet.text: snippet.mean for snippet in parse_snippets(*tables())}
    for row in rows["preferences"]:
        assert row["margin"] == pytest.approx(mean[row["chosen"][1:]] - mean[row["rejected"][1:]])
        assert row["margin"] >= 1


def test_the_order_of_the_source_does_not_matter(rows):
    assert build_rows(reversed(parse_snippets(*tables()))) == rows
