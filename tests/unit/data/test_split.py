from __future__ import annotations

import random
from collections import Counter

import pytest

from rlhf.config.data import DataConfig
from rlhf.data.split import Member, divide, side

CONFIG = DataConfig(validation_fraction=0.1, test_fraction=0.2)
TEXTS = [f"prompt {n}" for n in range(4000)]


def members(keys, weight=1.0):
    return [Member(key=key, content=f"{key}/{n}", weight=weight) for n, key in enumerate(keys)]


def test_shares_are_the_fractions():
    shares = Counter(side(text, CONFIG) for text in TEXTS)
    assert shares["test"] / len(TEXTS) == pytest.approx(0.2, abs=0.02)
    assert shares["validation"] / len(TEXTS) == pytest.approx(0.1, abs=0.02)


def test_sides_are_fixed_for_good():
    # Fixed once: a change here moves rows of every run made before.
    places = [side(text, CONFIG) for text in TEXTS[:12]]
    assert " ".join(place[:2] for place in places) == "tr tr te te tr va tr tr tr tr tr tr"


def test_order_of_rows_changes_no_side():
    shuffled = random.Random(0).sample(TEXTS, len(TEXTS))
    first, second = divide(members(TEXTS), CONFIG), divide(members(shuffled), CONFIG)
    for name in ("train", "validation", "test"):
        assert {TEXTS[i] for i in first[name]} == {shuffled[i] for i in second[name]}


def test_one_key_lies_on_one_side():
    keys = [text for text in TEXTS[:200] for _ in range(3)]
    sides = divide(members(keys), CONFIG)
    found = [{keys[i] for i in rows} for rows in sides.values()]
    assert sum(map(len, found)) == len(set(keys))


def test_a_larger_fraction_keeps_what_was_held_out():
    more = DataConfig(validation_fraction=0.2, test_fraction=0.2)
    for text in TEXTS[:500]:
        if side(text, CONFIG) != "train":
            assert side(text, more) == side(text, CONFIG)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_train_is_never_empty(count):
    config = DataConfig(validation_fraction=0.49, test_fraction=0.49)
    for start in range(0, 150, count):
        keys = TEXTS[start : start + count]
        sides = divide(members(keys, weight=0.01), config)
        assert sides["train"]
        assert {*sides["train"], *sides["validation"], *sides["test"]} <= {*range(count)}
    assert divide([], config) == {"train": [], "validation": [], "test": []}


@pytest.mark.parametrize(
    ("weight", "low", "high"), [(0.5, 0, 1), (1.0, 1, 1), (1.5, 1, 2), (2.0, 2, 2)]
)
def test_weights_repeat_and_thin_train_only(weight, low, high):
    sides, once = divide(members(TEXTS, weight), CONFIG), divide(members(TEXTS), CONFIG)
    assert (sides["validation"], sides["test"]) == (once["validation"], once["test"])
    assert len(sides["train"]) == pytest.approx(weight * len(once["train"]), rel=0.05)
    copies = Counter(sides["train"])
    assert {copies[i] for i in once["train"]} == {low, high}
    assert sides == divide(members(TEXTS, weight), CONFIG)


def test_a_fractional_weight_does_not_look_at_the_side():
    alone = [Member(key=text, content=text, weight=0.2) for text in TEXTS]
    kept = len(divide(alone, CONFIG)["train"])
    assert kept == pytest.approx(0.2 * len(divide(members(TEXTS), CONFIG)["train"]), rel=0.15)


def test_split_by_row_parts_rows_that_share_a_prompt():
    members = [Member(key="same prompt", content=f"row {i}", weight=1.0) for i in range(200)]
    config = DataConfig(validation_fraction=0.2, test_fraction=0.2)
    whole = divide(members, config)
    assert sorted(len(rows) for rows in whole.values()) == [0, 0, 200]
    parted = divide(members, config.model_copy(update={"split_by": "row"}))
    assert min(len(rows) for rows in parted.values()) > 20
    assert sorted(row for rows in parted.values() for row in rows) == list(range(200))
