"""SFT: validates when it is time, keeps the best, stops early."""

from __future__ import annotations

import pytest

from rlhf.data.stream import Stream
from rlhf.stages.best import Best
from rlhf.stages.sft import SFT
from tests import models
from tests.specs import runtime, spec


@pytest.fixture
def stage(folder, tmp_path):
    def build(*, rows: int = 4, patience: int = 3, lr: float = 3e-3, **changes: object) -> SFT:
        experiment = models.experiment(
            sft={"batch_size": 3, "optimizer": models.optimizer(lr=lr), **changes}
        )
        validation = models.demonstrations(4, seed=9)
        return SFT(
            policy=runtime(experiment).assign(spec("sft_policy", folder())),
            train=Stream(models.demonstrations(9), 3, 0, "sft"),
            validation=validation if rows else validation.select([]),
            best=Best(tmp_path / "best", patience),
            config=experiment.sft,
        )

    return build


def test_steps_are_epochs_over_batches_rounded_up(stage):
    assert stage(num_epochs=2.0).total_steps == 6
    assert stage(num_epochs=0.5).total_steps == 2


def test_it_validates_every_so_often_and_at_the_end(stage):
    reports = list(stage(num_epochs=1.0, validate_every=2).steps(0))
    assert ["loss/validation" in report for report in reports] == [False, True, True]
    assert all(report["loss/train"] > 0 for report in reports)


def test_it_learns(stage):
    reports = list(stage(num_epochs=5.0).steps(0))
    assert reports[-1]["loss/train"] < reports[0]["loss/train"]


def test_early_stopping_keeps_the_best_weights(stage):
    # correctness 9: sft.keep=best.
    diverging = stage(num_epochs=10.0, validate_every=1, patience=2, lr=1.0)
    losses = [report["loss/validation"] for report in diverging.steps(0)]
    assert len(losses) < diverging.total_steps
    assert diverging.best.is_over
    assert diverging.best.loss == min(losses)
    kept = runtime(models.experiment()).assign(spec("sft_policy", diverging.best.folder))
    again = kept.imitation_loss(diverging.validation).result()
    assert again["loss/validation"] == pytest.approx(min(losses), rel=1e-5)


def test_without_validation_rows_the_training_loss_decides(stage):
    blind = stage(rows=0, num_epochs=1.0, validate_every=1)
    reports = list(blind.steps(0))
    assert not any("loss/validation" in report for report in reports)
    assert blind.best.loss == min(report["loss/train"] for report in reports)
    assert (blind.best.folder / "config.json").is_file()
