"""Scores over their running standard deviation."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlhf.algo.scaling import NoScale, RunningScale, ScoreScale
from rlhf.errors import TrainingError


def scores(num: int, seed: int = 0, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, generator=generator, dtype=torch.float64) * 3 + offset


@pytest.mark.parametrize("offset", [0.0, 5.0, 1e6])
def test_scores_are_over_the_biased_deviation_of_all_so_far(offset: float) -> None:
    # correctness 42: running-std scale, by torch's own two-pass formula, also far from 0.
    running, everything = RunningScale(), scores(300, offset=offset)
    for end in (100, 101, 300):
        start = {100: 0, 101: 100, 300: 101}[end]
        found = running.scale(everything[start:end])
        expected = everything[start:end] / everything[:end].std(correction=0)
        assert torch.allclose(found, expected, rtol=1e-9)


def test_the_mean_is_never_taken_off() -> None:
    # correctness 42: signs and ratios of scores stay.
    given_scores = torch.tensor([2.0, 4.0, 6.0])
    found = RunningScale().scale(given_scores)
    assert torch.allclose(found / given_scores, (found / given_scores)[0].expand(3))
    assert found[0] > 0


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_batching_changes_no_bit_of_the_state(cuts: list[int]) -> None:
    # correctness 42, 66
    everything, whole, chunks = scores(60, offset=10.0), RunningScale(), RunningScale()
    whole.scale(everything)
    for chunk in everything.tensor_split(sorted(cuts)):
        chunks.scale(chunk)
    assert chunks.state() == whole.state()


def test_a_kept_state_goes_on_where_it_was() -> None:
    # correctness 66: bit-equal, through JSON.
    first, fresh = RunningScale(), RunningScale()
    first.scale(scores(50))
    fresh.load(json.loads(json.dumps(first.state())))
    later = scores(20, seed=1)
    assert torch.equal(first.scale(later), fresh.scale(later))
    assert first.state() == fresh.state()


@pytest.mark.parametrize("constant", [[3.7], [0.1] * 7, [0.0, 0.0]])
def test_without_spread_scores_stay_as_they_are(constant: list[float]) -> None:
    given_scores = torch.tensor(constant)
    assert torch.equal(RunningScale().scale(given_scores), given_scores)


def test_shape_and_precision_stay() -> None:
    assert RunningScale().scale(scores(4).float()).dtype == torch.float32
    assert RunningScale().scale(torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_an_error_and_leaves_no_trace(bad: float) -> None:
    running = RunningScale()
    running.scale(scores(5))
    before = running.state()
    with pytest.raises(TrainingError, match=r"score=(nan|inf) in row 1"):
        running.scale(torch.tensor([1.0, bad]))
    assert running.state() == before


def test_no_scale_is_neutral_and_keeps_nothing() -> None:
    # correctness 42
    neutral: ScoreScale = NoScale()
    given_scores = scores(5)
    assert torch.equal(neutral.scale(given_scores), given_scores)
    neutral.load(RunningScale().state())
    assert neutral.state() == {}
