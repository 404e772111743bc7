"""Imitation: a mean over learned tokens, whatever weight it is given."""

from __future__ import annotations

import pytest
import torch

from rlhf.engine.local import LocalEngine
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from tests.models import causal, demonstrations


def imitation() -> Imitation:
    return Imitation(LocalEngine(LanguageModel(causal())), max_tokens=26)


def test_the_objective_counts_the_learned_tokens_and_carries_its_weight():
    batch = demonstrations()
    objective = imitation().objective(batch, 0.3)
    assert objective.count == float(batch.loss_mask_BT.sum())
    assert objective.coef == 0.3
    assert imitation().objective(batch).coef == 1.0


def test_measuring_and_learning_see_the_same_loss():
    # correctness 6: a sum over tokens by their count, however rows are cut.
    batch = demonstrations()
    objective = imitation().objective(batch)
    with torch.no_grad():
        learned = float(objective.loss_of(batch).loss) / objective.count
    assert imitation().loss(batch)["loss/validation"] == pytest.approx(learned, rel=1e-5)
