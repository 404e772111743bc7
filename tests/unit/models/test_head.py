"""Head: a reward model whose numbers show that it was never trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlhf.errors import ModelError
from rlhf.models.head import check_head


@pytest.fixture
def changed(folder, tmp_path):
    """Write a reward model whose weights were passed through a function."""

    def make(change) -> str:
        home = Path(shutil.copytree(folder("llama", "classifier"), tmp_path / "reward_model"))
        weights = load_file(home / "model.safetensors")
        change(weights)
        save_file(weights, home / "model.safetensors", metadata={"format": "pt"})
        return str(home)

    return make


def test_a_trained_head_scores_two_texts_differently(folder):
    assert "head [1, 32], standard deviation" in check_head(folder("llama", "classifier"))


@pytest.mark.parametrize(
    ("value", "told"),
    [(0.0, "is 0 throughout"), (0.5, "is 0.5 throughout"), (float("nan"), "not finite")],
)
def test_a_head_without_effect(changed, value, told):
    with pytest.raises(ModelError, match=told):
        check_head(changed(lambda weights: weights["score.weight"].fill_(value)))


def test_a_trunk_that_gives_all_texts_one_score(changed):
    def flatten(weights: dict[str, torch.Tensor]) -> None:
        weights["model.embed_tokens.weight"].zero_()

    with pytest.raises(ModelError, match="scores two different texts 0 and 0"):
        check_head(changed(flatten))


def test_a_head_of_several_labels(changed):
    def widen(weights: dict[str, torch.Tensor]) -> None:
        weights["score.weight"] = weights["score.weight"].repeat(3, 1)

    with pytest.raises(ModelError, match="its score head has 3 outputs; a reward model has one"):
        check_head(changed(widen))


def test_a_name_on_the_hub_is_not_fetched():
    assert check_head("someone/reward-model").endswith("looked at once it is loaded")
