"""Best: the lowest loss is on disk, and patience ends training."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.stages.best import Best


class Writes:
    """A role that counts how often it was saved."""

    def __init__(self) -> None:
        self.saved = 0

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.saved += 1
        (folder / "number").write_text(str(self.saved))

    def save_state(self, folder: Path) -> None:
        raise AssertionError(folder)

    def load_state(self, folder: Path) -> None:
        raise AssertionError(folder)


def test_only_a_new_lowest_is_saved(tmp_path):
    best, role = Best(tmp_path / "best", patience=2), Writes()
    for loss in (3.0, 2.0, 2.0, 1.0):
        best.observe(loss, role)
    assert role.saved == 3
    assert not best.is_over


def test_patience_runs_out_after_so_many_without_a_new_lowest(tmp_path):
    best, role = Best(tmp_path / "best", patience=2), Writes()
    over = []
    for loss in (1.0, 2.0, 1.5):
        best.observe(loss, role)
        over.append(best.is_over)
    assert over == [False, False, True]
    assert (tmp_path / "best/number").read_text() == "1"


def test_without_patience_the_newest_is_kept_to_the_end(tmp_path):
    # correctness 9: sft.keep=last trains past the lowest validation loss.
    best, role = Best(tmp_path / "best", patience=None), Writes()
    for loss in (1.0, 5.0, 6.0):
        best.observe(loss, role)
    assert role.saved == 3
    assert not best.is_over


@pytest.mark.parametrize("losses", [[], [2.0], [2.0, 3.0]])
def test_its_state_is_plain_and_restores_it(tmp_path, losses):
    import json

    best, role = Best(tmp_path / "best", patience=5), Writes()
    for loss in losses:
        best.observe(loss, role)
    other = Best(tmp_path / "best", patience=5)
    other.load(json.loads(json.dumps(best.state())))
    assert (other.loss, other.waited) == (best.loss, best.waited)


def test_a_checkpoint_has_the_best_model_of_its_step(tmp_path):
    # One flipped bit in the best model so far was learned from, or ended the run for good.
    best, role = Best(tmp_path / "best", patience=2), Writes()
    best.save_state(tmp_path / "step_0/best")
    for loss in (3.0, 2.0):
        best.observe(loss, role)
    best.save_state(tmp_path / "step_2/best")
    state = best.state()
    best.observe(1.0, role)
    assert (tmp_path / "best/number").read_text() == "3"
    assert (tmp_path / "step_2/best/number").read_text() == "2"
    (tmp_path / "best/number").write_text("damaged")
    resumed = Best(tmp_path / "best", patience=2)
    resumed.load(state)
    resumed.load_state(tmp_path / "step_2/best")
    assert (tmp_path / "best/number").read_text() == "2"
    started = Best(tmp_path / "best", patience=2)
    started.load({"loss": None, "waited": 0})
    started.load_state(tmp_path / "step_0/best")
    assert not (tmp_path / "best").exists()


def test_the_best_model_of_an_earlier_releases_checkpoint_stays(tmp_path):
    best, role = Best(tmp_path / "best", patience=2), Writes()
    best.observe(1.0, role)
    best.load_state(tmp_path / "step_2/best")
    assert (tmp_path / "best/number").read_text() == "1"
