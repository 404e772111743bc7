"""Copies: a rebuilt network's tensors, and what its folder keeps of the source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GenerationConfig

from rlhf.data.tokenizer import load_tokenizer
from rlhf.models.copies import fresh_copy, load_weights, rebuild
from rlhf.models.pretrained import load_causal_lm, save_network
from tests.models import causal, ragged, tokenizer, write
from tests.routed import is_bias, routed


@pytest.mark.parametrize("tied", (True, False))
def test_rebuild_and_save_give_the_network_back(tmp_path, tied):
    network = causal(tie_word_embeddings=tied)
    weights = {name: p.detach() + 0.5 for name, p in network.named_parameters()}
    assert ("lm_head.weight" in weights) is not tied
    fresh = rebuild(network, weights)
    assert fresh is not network
    save_network(fresh, tmp_path, tokenizer())
    again = load_causal_lm(str(tmp_path))
    assert {name for name, _ in again.named_parameters()} == set(weights)
    assert all(torch.equal(p, weights[name]) for name, p in again.named_parameters())
    assert (again.lm_head.weight is again.model.embed_tokens.weight) is tied
    assert len(load_tokenizer(str(tmp_path))) == len(tokenizer())
    assert list(tmp_path.glob("*.safetensors"))


def test_rebuild_takes_the_dtype_of_the_weights():
    network = causal().to(torch.bfloat16)
    weights = {name: p.detach().float() for name, p in network.named_parameters()}
    assert rebuild(network, weights).dtype == torch.float32


def test_rebuild_copies():
    network = causal()
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}
    fresh = rebuild(network, weights)
    before = fresh.model.norm.weight.clone()
    weights["model.norm.weight"].fill_(9.0)
    assert torch.equal(fresh.model.norm.weight, before)


def test_a_tied_config_with_two_different_matrices_stays_untied(tmp_path):
    source = causal(tie_word_embeddings=False)
    source.config.tie_word_embeddings = True
    path = write(source, tmp_path / "source")
    network = load_causal_lm(path)
    kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_network(rebuild(network, kept), tmp_path / "written", tokenizer())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "written")
    assert torch.equal(again.lm_head.weight, source.lm_head.weight)
    assert torch.equal(again.model.embed_tokens.weight, source.model.embed_tokens.weight)


def test_a_tensor_that_is_not_given_is_an_error():
    network = routed()
    kept = dict(network.state_dict())
    kept.pop(next(name for name in kept if is_bias(name)))
    with pytest.raises(KeyError):
        rebuild(network, kept)


def test_a_rebuilt_network_runs_as_the_first():
    network = routed()
    tokens_BT, _ = ragged(3)
    again = rebuild(network, dict(network.state_dict())).eval()
    with torch.no_grad():
        assert torch.equal(again(input_ids=tokens_BT).logits, network(input_ids=tokens_BT).logits)


def test_buffers_under_adapters_are_found():
    network = routed()
    wanted = {name: b.clone() for name, b in network.named_buffers() if is_bias(name)}
    config = LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(network, config)
    fresh = fresh_copy(network)
    get_peft_model(fresh, config)
    load_weights(fresh, dict(network.state_dict()))
    held = {n.replace(".base_layer.", "."): b for n, b in fresh.named_buffers()}
    assert wanted
    assert all(torch.equal(held[name], buffer) for name, buffer in wanted.items())


@pytest.mark.parametrize(
    "given",
    [
        {"eos_token_id": [2, 5, 9], "temperature": 0.6, "top_p": 0.9, "do_sample": True},
        {"eos_token_id": 2, "temperature": 0.6, "do_sample": False},  # transformers refuses it
        {"eos_token_id": [2], "max_new_tokens": 7, "repetition_penalty": 1.3, "own_key": "kept"},
    ],
)
def test_the_generation_config_is_kept(tmp_path, given):
    path = write(causal(), tmp_path / "source")
    (tmp_path / "source/generation_config.json").write_text(json.dumps(given), encoding="utf-8")
    network = load_causal_lm(path)
    save_network(rebuild(network, dict(network.state_dict())), tmp_path / "out", tokenizer())
    file = tmp_path / "out/generation_config.json"
    written = json.loads(Path(file).read_text(encoding="utf-8"))
    assert given.items() <= written.items()
    before = GenerationConfig.from_pretrained(path).to_dict()
    after = GenerationConfig.from_pretrained(tmp_path / "out").to_dict()
    assert {**before, "transformers_version": 0} == {**after, "transformers_version": 0}
