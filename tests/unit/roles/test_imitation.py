"""Imitation: a mean over learned tokens, whatever weight it is given."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_prompt_is_read_and_not_learned():
    # correctness 5: no loss on tokens outside the mask, though the answer follows from them.
    whole, network = demonstrations(), causal()
    prompt_BT = torch.arange(whole.tokens_BT.shape[1]) < (whole.lengths_B // 2)[:, None]
    batch = replace(whole, loss_mask_BT=whole.loss_mask_BT & ~prompt_BT)
    assert 0 < batch.loss_mask_BT.sum() < whole.loss_mask_BT.sum()
    with torch.no_grad():
        logprobs_BTV = network(input_ids=batch.tokens_BT).logits.log_softmax(-1)
        chosen_BT = logprobs_BTV[:, :-1].gather(-1, batch.tokens_BT[:, 1:, None]).squeeze(-1)
        wanted = -float(chosen_BT[batch.loss_mask_BT[:, 1:]].mean())
        objective = imitation().objective(batch)
        learned = float(objective.loss_of(batch).loss) / objective.count
    assert learned == pytest.approx(wanted, rel=1e-5)
    assert imitation().loss(batch)["loss/validation"] == pytest.approx(wanted, rel=1e-5)
