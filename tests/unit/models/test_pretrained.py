"""Hugging Face folders: what loads, what is refused, and what a saved folder loads as."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch import nn

from rlhf.config.model import NewModelConfig
from rlhf.errors import ModelError
from rlhf.models.pretrained import load_causal_lm, load_scalar, new_causal_lm, save_network
from tests.models import causal, ragged, tokenizer, write


@pytest.mark.parametrize("family", ("llama", "qwen2", "gpt2", "mistral"))
def test_dropout_is_off_even_in_training_mode(folder, family):
    # correctness 7: every probability is 0; two forwards in training mode are bit-equal.
    for network in (
        load_causal_lm(folder(family)),
        load_scalar(folder(family, "classifier"), "trained"),
    ):
        network.train()
        assert all(m.p == 0.0 for m in network.modules() if isinstance(m, nn.Dropout))
        tokens_BT, _ = ragged(3)
        first, second = (network.base_model(input_ids=tokens_BT)[0] for _ in range(2))
        assert torch.equal(first, second)


def test_the_precision_asked_for_is_the_one_loaded(folder):
    assert load_causal_lm(folder()).dtype == torch.float32
    assert load_causal_lm(folder(), "bf16").dtype == torch.bfloat16


def test_a_config_that_asks_for_other_outputs_gives_the_usual_ones(folder, tmp_path):
    asks = {"return_dict": False, "output_attentions": True, "output_hidden_states": True}
    shutil.copytree(folder(), tmp_path / "asking")
    file = tmp_path / "asking" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **asks}))
    network, usual = load_causal_lm(str(file.parent)), load_causal_lm(folder())
    tokens_BT, _ = ragged(3)
    found = network(input_ids=tokens_BT)
    assert torch.equal(found.logits, usual(input_ids=tokens_BT).logits)
    assert found.attentions is None
    assert found.hidden_states is None
    save_network(network, tmp_path / "saved", tokenizer())  # transformers refuses to, otherwise


def test_a_folder_without_a_model_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=str(tmp_path)):
        load_causal_lm(str(tmp_path))
    with pytest.raises(ModelError, match="nowhere"):
        load_scalar("nowhere/at-all", "trained")


def test_a_trained_head_that_is_missing_is_refused(folder):
    with pytest.raises(ModelError, match="no trained score head"):
        load_scalar(folder("llama", "causal"), "trained")


def test_a_trained_head_comes_back(folder):
    path = folder("llama", "classifier")
    again = load_scalar(path, "trained")
    from tests.models import classifier

    assert torch.equal(again.score.weight, classifier("llama", seed=1).score.weight)


@pytest.mark.parametrize("family", ("llama", "gpt2"))
def test_a_zero_head_scores_nothing(folder, family):
    network = load_scalar(folder(family), "zero")
    assert network.score.weight.shape == (1, 32)
    assert not network.score.weight.any()


def test_a_new_head_is_normal_with_the_papers_deviation(tmp_path):
    path = write(causal(hidden_size=256, num_attention_heads=4, num_hidden_layers=1), tmp_path)
    weight = load_scalar(path, "new", seed=1).score.weight
    wanted = 257**-0.5
    assert abs(float(weight.detach().std()) - wanted) < 3 * wanted / (2 * 256) ** 0.5
    assert torch.equal(weight, load_scalar(path, "new", seed=1).score.weight)
    assert not torch.equal(weight, load_scalar(path, "new", seed=2).score.weight)


def test_a_new_head_replaces_a_stored_one(folder):
    network = load_scalar(folder("llama", "classifier"), "zero")
    assert not network.score.weight.any()


def test_a_fresh_model_fits_its_tokenizer():
    words = tokenizer()
    config = NewModelConfig(hidden_size=32, num_layers=1, num_heads=2, context=40)
    network = new_causal_lm(config, words, seed=3)
    assert network.config.vocab_size == len(words)
    assert network.config.eos_token_id == words.eos_token_id
    assert network.config.max_position_embeddings == 40
    again = new_causal_lm(config, words, seed=3)
    assert all(
        torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True)
    )
    other = new_causal_lm(config, words, seed=4)
    assert not torch.equal(network.lm_head.weight, other.lm_head.weight)
