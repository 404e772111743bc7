"""Exact: what bf16 rounds on the way in is whole again on the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlhf.engine.local import LocalEngine
from rlhf.models.copies import rebuild
from rlhf.models.exact import ATTRIBUTE
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm, save_network
from tests.models import tokenizer
from tests.routed import ROUTED, is_bias, routed, write_routed


def kept(network):
    """What an engine gives: weights, each once, and persistent buffers."""
    held = LocalEngine(LanguageModel(network)).weights()
    return {name.removeprefix("network."): tensor for name, tensor in held.items()}


@pytest.mark.parametrize("family", ROUTED)
def test_a_bf16_run_writes_the_bias_bit_for_bit(tmp_path, family):
    network = load_causal_lm(write_routed(tmp_path / "source", family), "bf16")
    assert type(network) is type(routed(family))
    save_network(rebuild(network, kept(network)), tmp_path / "written", tokenizer())
    source = load_file(tmp_path / "source/model.safetensors")
    written = load_file(tmp_path / "written/model.safetensors")
    assert set(source) == set(written)
    biases = [name for name in source if is_bias(name)]
    assert biases
    for name in biases:
        assert torch.equal(written[name], source[name]), name
        assert written[name].dtype == torch.float32
    others = set(source) - set(biases)
    assert {written[name].dtype for name in others} <= {torch.bfloat16, torch.float32}


def test_what_runs_is_what_transformers_runs(tmp_path):
    path = write_routed(tmp_path, "minimax_m2")
    ours = load_causal_lm(path, "bf16")
    theirs = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).state_dict()
    assert set(ours.state_dict()) == set(theirs)
    for name, tensor in ours.state_dict().items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name])
    assert len(vars(ours)[ATTRIBUTE]) == 2


def test_a_buffer_that_changed_is_written_as_it_is(tmp_path):
    network = load_causal_lm(write_routed(tmp_path / "source", "minimax_m2"), "bf16")
    now = kept(network)
    name = next(name for name in now if is_bias(name))
    now[name] += 1
    save_network(rebuild(network, now), tmp_path / "written", tokenizer())
    again = load_causal_lm(str(tmp_path / "written"))
    assert torch.equal(again.state_dict()[name], now[name].float())
    assert not list(Path(tmp_path / "written").glob("*.bin"))
