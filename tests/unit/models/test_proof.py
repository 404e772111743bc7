"""Proof: a folder that lost something is refused, in fp32 and in bf16; rounding is not."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlhf.config.model import PeftConfig
from rlhf.errors import TrainingError
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm, load_scalar, save_network
from rlhf.models.proof import Proof, evaluating
from rlhf.models.scalar_model import ScalarModel
from tests.families.cells import Family
from tests.models import tokenizer
from tests.routed import is_bias, write_routed

PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def change(folder, which, by) -> None:
    tensors = load_file(folder / "model.safetensors")
    changed = {n: by(t) if which(n) else t for n, t in tensors.items()}
    assert any(not torch.equal(changed[n], t) for n, t in tensors.items())
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


@PRECISIONS
def test_the_same_folder_passes(folder, precision):
    for family in ("llama", "gpt2"):
        model = LanguageModel(load_causal_lm(folder(family), precision))
        proof = Proof(model, tokenizer())
        proof.check(folder(family), proof.ask(model), rounded=precision == "bf16")


@PRECISIONS
def test_a_lost_buffer_is_refused(tmp_path, precision):
    path = write_routed(tmp_path)
    model = LanguageModel(load_causal_lm(path, precision))
    proof = Proof(model, tokenizer())
    live = proof.ask(model)
    proof.check(tmp_path, live, rounded=precision == "bf16")
    change(tmp_path, is_bias, torch.zeros_like)
    with pytest.raises(TrainingError, match="is not the model that was trained"):
        proof.check(tmp_path, live, rounded=precision == "bf16")


def test_a_small_difference_is_refused_in_fp32(tmp_path):
    path = write_routed(tmp_path)
    model = LanguageModel(load_causal_lm(path))
    proof = Proof(model, tokenizer())
    live = proof.ask(model)
    change(tmp_path, lambda name: name == "model.norm.weight", lambda weight: weight * 1.0003)
    with pytest.raises(TrainingError, match=r"rule: at most .* in|rule: at most"):
        proof.check(tmp_path, live, rounded=False)


def test_what_is_no_number_is_refused(folder):
    model = LanguageModel(load_causal_lm(folder()))
    proof = Proof(model, tokenizer())
    with pytest.raises(TrainingError):
        proof.check(folder(), proof.ask(model) * float("nan"), rounded=False)


def test_a_scalar_model_is_asked_its_scalars(folder):
    path = folder("llama", "classifier")
    model = ScalarModel(load_scalar(path, "trained"))
    proof = Proof(model, tokenizer())
    live = proof.ask(model)
    proof.check(path, live, rounded=False)
    with pytest.raises(TrainingError):
        proof.check(path, live + 1e-3, rounded=False)


def test_evaluation_mode_is_given_back(folder):
    network = load_causal_lm(folder())
    network.model.layers[1].train()
    before = [module.training for module in network.modules()]
    restore = evaluating(network)
    assert not any(module.training for module in network.modules())
    restore()
    assert [module.training for module in network.modules()] == before


def test_rounding_that_layers_run_over_and_over_make_large_is_measured(tmp_path):
    """HRM runs two stacks of layers in turn: what is added into a weight is rounded, and grows."""
    path = Family("hrm_text", tmp_path)
    path.write()
    model = LanguageModel(load_causal_lm(path.path))
    adapter = Adapter(model.network, PeftConfig(method="lora", rank=4, alpha=8), seed=0)
    adapter.draw()
    proof, folder = Proof(model, tokenizer()), tmp_path / "merged"
    live = proof.ask(model)
    merged = adapter.merged(model.network, dict(model.network.state_dict()))
    save_network(merged, folder, tokenizer())
    exact = 1e-5 * float(live.abs().max())
    assert float((proof.ask_network(merged) - live).abs().max()) > exact, "else this shows nothing"
    proof.check(folder, live, rounded=False)
    change(folder, lambda name: name.endswith("mlp.down_proj.weight"), lambda w: w * 1.05)
    with pytest.raises(TrainingError):
        proof.check(folder, live, rounded=False)
