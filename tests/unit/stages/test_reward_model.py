"""The reward-model stage: learns an order, measures it, and knows the spread of its scores."""

from __future__ import annotations

import pytest
import torch

from rlhf.data.stream import Stream
from rlhf.stages.best import Best
from rlhf.stages.reward_model import RewardModel, measure, score_statistics
from tests import models
from tests.specs import runtime, spec


@pytest.fixture
def stage(folder, tmp_path):
    def build(patience: int = 3, **changes: object) -> RewardModel:
        experiment = models.experiment(reward_model={"batch_size": 3, **changes})
        return RewardModel(
            reward=runtime(experiment).assign(spec("reward_trainer", folder(), head="new")),
            train=Stream(models.rankings(9), 3, 0, "reward_model"),
            validation=models.rankings(4, seed=9),
            best=Best(tmp_path / "best", patience),
            config=experiment.reward_model,
        )

    return build


def test_it_learns_the_order_it_is_shown(stage):
    learning = stage(num_epochs=8.0, patience=99)
    reports = list(learning.steps(0))
    assert len(reports) == learning.total_steps == 24
    assert reports[-1]["loss/train"] < reports[0]["loss/train"]
    rows = models.rankings(9)
    seen = measure(learning.reward.answer_scores(rows).result(), rows, 0.0)
    assert seen["accuracy/validation"] > 0.8


def test_validation_is_as_often_as_asked_within_one_pass(stage):
    # correctness 17: overfits after one pass, so accuracy is watched within it.
    reports = list(stage(num_epochs=1.0, validate_every=1, patience=99).steps(0))
    assert len(reports) == 3
    assert all("accuracy/validation" in report.means() for report in reports)
    rare = list(stage(num_epochs=2.0, validate_every=4, patience=99).steps(0))
    assert ["accuracy/validation" in r.means() for r in rare] == [False] * 3 + [True, False, True]


def test_measure_counts_ties_half_and_leaves_absent_answers_out():
    rows = models.rankings(2, 3)
    assert rows.lengths_BK.tolist()[0][-1] == 0
    scores_BK = torch.tensor([[2.0, 1.0, 99.0], [1.0, 1.0, 0.0]])
    seen = measure(scores_BK, rows, 0.0)
    assert seen["accuracy/validation"] == pytest.approx((1 + 0.5 + 1 + 1) / 4)


def test_statistics_are_of_the_answers_that_are_there(stage):
    reward, rows = stage().reward, models.rankings(5)
    scores_N = reward.answer_scores(rows).result()[rows.lengths_BK > 0]
    found = score_statistics(reward, rows)
    assert found["mean"] == pytest.approx(scores_N.mean().item(), abs=1e-5)
    assert found["std"] == pytest.approx(scores_N.std(correction=0).item(), rel=1e-4)


def test_normalising_by_its_own_statistics_gives_mean_0_and_deviation_1(stage):
    # correctness 18
    reward, rows = stage().reward, models.rankings(5)
    reward.normalize(score_statistics(reward, rows))
    after = score_statistics(reward, rows)
    assert after["mean"] == pytest.approx(0, abs=1e-4)
    assert after["std"] == pytest.approx(1, rel=1e-3)


def test_a_resume_takes_up_the_best(stage):
    one, other = stage(num_epochs=1.0, validate_every=1), stage()
    list(one.steps(0))
    other.load(one.state())
    assert other.best.loss == one.best.loss
    assert set(one.checkpointables()) == {"reward", "best"}
