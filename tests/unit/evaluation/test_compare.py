"""compare: who wins, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from rlhf.evaluation.compare import Answers, answer, compare, preference
from rlhf.observe.samples import Sample
from tests import models
from tests.specs import runtime, spec


@dataclass(frozen=True)
class Length:
    """A judge that likes long answers."""

    agreement: dict[str, float] = field(default_factory=dict)

    def score(self, prompts, responses, columns):
        assert len(prompts) == len(responses) == len(columns)
        return [float(len(response)) for response in responses]


def answers(scores: list[float]) -> Answers:
    samples = [
        Sample(prompt=f"p{i}", response="r" * i, score=None, finished=i % 2 == 0, length=i + 1)
        for i in range(len(scores))
    ]
    return Answers(samples=samples, token_lists=[[1, 2, 3]] * len(scores), scores=scores)


@pytest.mark.parametrize(
    ("new", "old", "wins"), [(2.0, 1.0, 1.0), (1.0, 2.0, 0.0), (1.0, 1.0, 0.5)]
)
def test_a_pair_is_won_lost_or_shared(new, old, wins):
    assert preference(new, old) == wins
    assert preference(old, new) == 1 - wins


def test_the_figures_are_those_of_a_count_by_hand():
    result = compare(answers([3, 1, 2, 5]), answers([1, 2, 2, 4]), "length", Length(), seed=0)
    assert result["win_rate"] == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert result["ties"] == 0.25
    assert result["num_prompts"] == 4
    low, high = result["interval"]
    assert 0 <= low <= result["win_rate"] <= high <= 1
    assert result["candidate"]["mean_score"] == 2.75
    assert result["candidate"]["mean_length"] == 2.5
    assert result["judge_agreement"] is None
    assert result["pairs"][1]["candidate_score"] == 1


def test_swapping_the_sides_mirrors_the_rate():
    one = compare(answers([3, 1, 2]), answers([1, 2, 2]), "length", Length(), seed=0)
    other = compare(answers([1, 2, 2]), answers([3, 1, 2]), "length", Length(), seed=0)
    assert one["win_rate"] == pytest.approx(1 - other["win_rate"])


def test_a_policy_against_itself_ties_everywhere(folder):
    sampler = runtime(models.experiment()).assign(spec("sampler", folder()))
    sides = [answer(sampler, models.prompts(5), Length(), models.tokenizer()) for _ in range(2)]
    result = compare(*sides, "length", Length(), seed=0)
    assert result["win_rate"] == 0.5
    assert result["ties"] == 1.0
    assert result["pairs"][0]["prompt"] == "prompt 0"


def test_the_interval_is_over_prompts_not_over_their_answers():
    asked = [Sample(prompt=p, response="", score=None, finished=True, length=1) for p in "ab" * 8]
    new = Answers(samples=asked, token_lists=[[1, 2]] * 16, scores=[1.0, 0.0] * 8)
    old = Answers(samples=asked, token_lists=[[1, 2]] * 16, scores=[0.0, 1.0] * 8)
    result = compare(new, old, "length", Length(), seed=0)
    assert (result["num_prompts"], result["num_answers"], result["win_rate"]) == (2, 16, 0.5)
    assert result["interval"] == [0.0, 1.0]


def test_ties_alone_have_no_interval():
    result = compare(answers([1.0] * 40), answers([1.0] * 40), "length", Length(), seed=0)
    assert (result["win_rate"], result["ties"], result["interval"]) == (0.5, 1.0, None)


def test_a_side_that_always_wins_has_the_interval_of_wilson():
    # Wilson 1927: n / (n + z^2) below, where all n are successes.
    result = compare(answers([2.0] * 40), answers([1.0] * 40), "length", Length(), seed=0)
    assert result["interval"] == pytest.approx([40 / (40 + 1.96**2), 1.0])
