"""Samples: the same draws before and after, so that only the weights differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.stages.samples import as_samples, take_samples
from tests import models
from tests.specs import runtime, spec
from tests.unit.stages.conftest import model_reward


@pytest.fixture
def made():
    return runtime(models.experiment())


def test_answers_are_scored_and_repeat_exactly(made, folder):
    policy = Path(folder())
    writer = made.assign(spec("sampler", policy))
    judge = model_reward(made, Path(folder(kind="classifier")), policy)
    first = take_samples(writer, judge, models.prompts(3), models.tokenizer())
    again = take_samples(writer, judge, models.prompts(3), models.tokenizer())
    assert first == again
    assert [sample.prompt for sample in first] == ["prompt 0", "prompt 1", "prompt 2"]
    assert len({sample.score for sample in first}) == 3
    (name,) = judge.mix.names
    assert [sample.parts for sample in first] == [{name: sample.score} for sample in first]
    assert all(1 <= sample.length <= 8 for sample in first)


def test_without_a_reward_there_is_no_score_and_without_prompts_no_sample(made, folder):
    writer, tokenizer = made.assign(spec("sampler", folder())), models.tokenizer()
    assert {s.score for s in take_samples(writer, None, models.prompts(2), tokenizer)} == {None}
    assert take_samples(writer, None, models.prompts(2).select([]), tokenizer) == []


def test_a_rollout_becomes_text_row_by_row():
    rollout = models.rollout(4)
    samples = as_samples(rollout, models.tokenizer())
    assert {sample.score for sample in samples} == {None}
    assert [sample.length for sample in samples] == rollout.response_lengths_B.tolist()
    assert [sample.finished for sample in samples] == rollout.finished_B.tolist()
