"""The demo as any user's FILE.py:NAME: its rows are pinned, and its judge agrees with people."""

from __future__ import annotations

import pytest
from film_sentences import FILES

from rlhf.config.data import SourceConfig
from rlhf.data.fingerprint import sha256_files
from rlhf.data.rows import read_rows
from rlhf.evaluation.judges import load_judge
from rlhf.plugin import EXAMPLES, shipped

PACKAGED = "packaged:movie_reviews"
SHA256 = {  # as in the manifests of the runs that were made before the demo was an example
    "demonstrations": "10aec499079cf8b87090e9751c650af3180c78031673f93d05efeb5c696a8d0c",
    "preferences": "caee4e1a0a0377610b68b366c327c79c48e5723635687a6343633efedc88a15a",
    "preferences_test": "75774cb29094e9d0bec3f271543241ab9d94fa34e999d60c0c66626724fe2cf5",
    "prompts": "5313d3bab0006ba215815da397c75b4997de44ad889321d17f223d23ebcc48a7",
    "prompts_test": "4ce024332c47fc51e9cef7d3c4c88fb9bdc4e01fbf6d4680d8a6e978412c8318",
    "judge": "4af4ad9c19167d9149dccc77fe45423ea62c7fe2b9b65b2ef35b5c93cb7346a7",
}


@pytest.mark.parametrize("kind", FILES)
def test_the_rows_and_their_fingerprint_are_those_of_every_run_so_far(kind):
    path = f"{PACKAGED}/{kind}"
    assert sha256_files([SourceConfig(path=path)]) == {path: SHA256[kind]}


def test_the_demo_is_read_by_its_own_path_too():
    path = f"{shipped(EXAMPLES)}/movie_reviews/movie_reviews.py:prompts"
    own, short = (
        [row.values for row in read_rows(SourceConfig(path=name))]
        for name in (path, f"{PACKAGED}/prompts")
    )
    assert own == short
    assert sha256_files([SourceConfig(path=path)]) == {path: SHA256["prompts"]}


def test_the_judge_says_how_well_it_agrees_with_people():
    judge = load_judge(PACKAGED, 60.0)
    assert judge.agreement["pair_accuracy"] == pytest.approx(0.8229, abs=1e-4)
    assert (judge.agreement["num_texts"], judge.agreement["num_pairs"]) == (639, 135804)
    assert judge.files == []
    bad, good = judge.score(["p"] * 2, ["A dull, tired film.", "A warm, clever film."], [{}] * 2)
    assert bad < good
    chats = [[{"role": "user", "content": "p"}]] * 2
    assert judge.score(chats, ["A dull, tired film.", "A warm, clever film."], [{}] * 2) == [
        bad,
        good,
    ]
