"""ScalarModel: one number at a position, whatever stands after it or beside it."""

from __future__ import annotations

import pytest
import torch

from rlhf.errors import ModelError
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import ScalarModel
from tests.models import causal, classifier, config, ragged, write

FAMILIES = ("llama", "qwen2", "gpt2", "mistral")


def last(tokens_BT, lengths_B):
    """Flat positions of the last real tokens."""
    return torch.arange(len(tokens_BT)) * tokens_BT.shape[1] + lengths_B - 1


@torch.no_grad()
def scores(model, tokens_BT, lengths_B):
    return model(tokens_BT, last(tokens_BT, lengths_B))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_score_is_what_the_classifier_says_of_the_row_alone(family):
    # correctness 12: at the last real token, whatever is behind it
    network = classifier(family)
    tokens_BT, lengths_B = ragged(6)
    got = scores(ScalarModel(network), tokens_BT, lengths_B)
    with torch.no_grad():
        wanted = [
            network(input_ids=row[None, :n]).logits[0, 0]
            for row, n in zip(tokens_BT, lengths_B, strict=True)
        ]
    torch.testing.assert_close(got, torch.stack(wanted), atol=1e-5, rtol=1e-5)
    assert got.std() > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_padding_and_batch_order_change_nothing(family):
    # correctness 12: padding and order, within 1e-5.
    model = ScalarModel(classifier(family))
    tokens_BT, lengths_B = ragged(6)
    wanted = scores(model, tokens_BT, lengths_B)
    wide_BT = torch.cat([tokens_BT, torch.full((6, 11), 5)], dim=1)
    torch.testing.assert_close(scores(model, wide_BT, lengths_B), wanted, atol=1e-5, rtol=0)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    got = scores(model, tokens_BT[order], lengths_B[order])
    torch.testing.assert_close(got, wanted[order], atol=1e-5, rtol=0)


def test_a_new_head_has_the_papers_spread_and_no_bias(tmp_path):
    # correctness 14: standard deviation 1 / sqrt(hidden + 1) within 3 sigma; not 1 / (hidden + 1).
    network = causal(hidden_size=256, num_attention_heads=4, num_hidden_layers=1)
    head = ScalarModel(load_scalar(write(network, tmp_path), "new", seed=1)).head
    wanted = 257**-0.5
    assert head.bias is None
    assert abs(float(head.weight.detach().std()) - wanted) < 3 * wanted / (2 * 256) ** 0.5
    assert abs(float(head.weight.detach().mean())) < 3 * wanted / 256**0.5


def test_a_prompt_that_looks_like_padding_is_still_read_to_its_end():
    # correctness 13: positions come from lengths, so no search for a first pad can go wrong.
    model = ScalarModel(classifier())
    tokens_BT, lengths_B = ragged(6)
    tokens_BT[torch.arange(6)[:, None], torch.arange(2)] = 0
    alone = [
        scores(model, row[None, :n], n[None]) for row, n in zip(tokens_BT, lengths_B, strict=True)
    ]
    got = scores(model, tokens_BT, lengths_B)
    torch.testing.assert_close(got, torch.cat(alone), atol=1e-5, rtol=0)
    assert len(got.unique()) > 3


def test_pad_and_eos_may_be_one_id():
    # correctness 12, 13
    # correctness 1: positions come from lengths, never from ids.
    model = ScalarModel(classifier(eos_token_id=0))
    tokens_BT, lengths_B = ragged(6)
    rows = torch.arange(6)
    tokens_BT[rows, lengths_B - 1] = 0
    alone = [
        scores(model, row[None, :n], n[None]) for row, n in zip(tokens_BT, lengths_B, strict=True)
    ]
    got = scores(model, tokens_BT, lengths_B)
    torch.testing.assert_close(got, torch.cat(alone), atol=1e-5, rtol=0)


def test_bfloat16_scores_move_little_with_the_batch():
    # correctness 12: within 1e-2 in bfloat16, of scores of order 1.
    model = ScalarModel(classifier().to(torch.bfloat16))
    tokens_BT, lengths_B = ragged(6)
    alone = [
        scores(model, row[None, :n], n[None]) for row, n in zip(tokens_BT, lengths_B, strict=True)
    ]
    wanted = torch.cat(alone)
    model.normalize(float(wanted.mean()), float(wanted.std()))
    got = scores(model, torch.cat([tokens_BT, tokens_BT * 0], dim=1), lengths_B)
    assert (got - (wanted - wanted.mean()) / wanted.std()).abs().mean() < 1e-2


def test_bfloat16_weights_still_give_float32():
    model = ScalarModel(classifier().to(torch.bfloat16))
    assert model(*model.example_inputs()).dtype == torch.float32


def test_normalise_shifts_and_scales_and_can_be_repeated():
    # correctness 18: mean 0 and standard deviation 1
    model = ScalarModel(classifier())
    tokens_BT, lengths_B = ragged(6)
    raw = scores(model, tokens_BT, lengths_B)
    model.normalize(0.7, 2.0)
    once = scores(model, tokens_BT, lengths_B)
    torch.testing.assert_close(once, (raw - 0.7) / 2.0)
    model.normalize(float(once.mean()), float(once.std(unbiased=False)))
    twice = scores(model, tokens_BT, lengths_B)
    torch.testing.assert_close(twice, (raw - raw.mean()) / raw.std(unbiased=False))


def test_normalisation_survives_the_folder_bit_for_bit(tmp_path):
    # correctness 19
    model = ScalarModel(classifier())
    model.normalize(0.1 + 0.2, 1 / 3)
    path = write(model.network, tmp_path)
    again = ScalarModel(load_scalar(path, "trained"))
    assert (again.score_mean, again.score_std) == (model.score_mean, model.score_std)
    tokens_BT, lengths_B = ragged(6)
    assert torch.equal(scores(again, tokens_BT, lengths_B), scores(model, tokens_BT, lengths_B))


def test_several_labels_are_refused():
    from transformers import AutoModelForSequenceClassification

    network = AutoModelForSequenceClassification.from_config(config("llama", num_labels=3))
    with pytest.raises(ModelError, match="has 3"):
        ScalarModel(network)


def test_a_network_without_a_score_head_is_refused():
    with pytest.raises(ModelError, match="no `score` head"):
        ScalarModel(causal())
