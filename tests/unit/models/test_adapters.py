"""Adapters: off is the base, merged is the adapted network, and only they learn."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel

from rlhf.config.model import PeftConfig
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.scalar_model import ScalarModel
from tests.models import causal, classifier, ragged

LORA = PeftConfig(method="lora", rank=4, alpha=8)


def trained(network, config=LORA):
    """Put adapters in, and give them weights that have an effect."""
    adapter = Adapter(network, config, seed=0)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.3)
    return adapter


@torch.no_grad()
def logits(network):
    return network(input_ids=ragged(3)[0]).logits


def weights_of(network):
    return {name: p.detach().clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("family", ("llama", "gpt2"))
def test_new_adapters_change_nothing_and_off_is_the_base(family):
    network = causal(family)
    base = logits(network)
    adapter = Adapter(network, LORA, seed=0)
    assert torch.equal(logits(network), base)
    trained_network = causal(family)
    adapter = trained(trained_network)
    assert not torch.allclose(logits(trained_network), base, atol=1e-2)
    with adapter.off():
        assert torch.equal(logits(trained_network), base)
    assert not torch.allclose(logits(trained_network), base, atol=1e-2)


@pytest.mark.parametrize("family", ("llama", "gpt2"))
def test_merged_is_the_network_with_its_adapters_on(family):
    network = causal(family)
    adapter = trained(network)
    merged = adapter.merged(network, weights_of(network))
    assert type(merged) is type(causal(family))
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]
    torch.testing.assert_close(logits(merged.eval()), logits(network), atol=1e-4, rtol=1e-4)


def test_only_adapters_learn():
    network = causal()
    Adapter(network, LORA, seed=0)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in name for name in learning)


def test_a_score_head_learns_whole_beside_them_and_is_saved_with_them(tmp_path):
    network = classifier()
    adapter = trained(network)
    learning = [name for name, p in network.named_parameters() if p.requires_grad]
    heads = [name for name in learning if name.startswith("score.")]
    assert len(heads) == 1
    assert all("lora_" in name or name in heads for name in learning)
    with torch.no_grad():
        network.get_parameter(heads[0]).add_(1.0)
    tokens_BT, positions_N = ragged(3)[0], torch.tensor([1, 12])
    with torch.no_grad():
        wanted = ScalarModel(network)(tokens_BT, positions_N)
        merged = ScalarModel(adapter.merged(network, weights_of(network)).eval())
        torch.testing.assert_close(merged(tokens_BT, positions_N), wanted, atol=1e-4, rtol=1e-4)
        adapter.save(tmp_path, network, weights_of(network))
        again = PeftModel.from_pretrained(classifier(), str(tmp_path)).eval()
        got = ScalarModel(again.get_base_model())(tokens_BT, positions_N)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def test_chosen_modules_alone_are_adapted():
    network = causal()
    Adapter(network, PeftConfig(method="lora", target_modules="q_proj, v_proj"), seed=0)
    adapted = {n.split(".lora_")[0].rpartition(".")[2] for n, _ in network.named_parameters()
               if "lora_" in n}  # fmt: skip
    assert adapted == {"q_proj", "v_proj"}


def test_the_seed_decides_the_start():
    starts = []
    for seed in (0, 0, 1):
        network = causal()
        Adapter(network, LORA, seed=seed)
        starts.append(
            torch.cat([p.flatten() for n, p in network.named_parameters() if "lora_" in n])
        )
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])


def test_the_saved_folder_is_one_of_peft(tmp_path):
    network = causal()
    adapter = trained(network)
    adapter.save(tmp_path, network, weights_of(network))
    again = PeftModel.from_pretrained(causal(), str(tmp_path))
    torch.testing.assert_close(logits(again.eval()), logits(network), atol=1e-5, rtol=1e-5)


def test_the_language_model_sees_the_adapters():
    network = causal()
    adapter = trained(network)
    model = LanguageModel(network)
    tokens_BT, _ = ragged(2)
    inputs = (tokens_BT, torch.tensor([0]), torch.tensor([40]), 1.0)
    with torch.no_grad():
        on = model(*inputs)[0]
        with adapter.off():
            off = model(*inputs)[0]
        wanted = logits(network)
    assert model.split_head
    assert not torch.allclose(on, off, atol=1e-3)
    assert wanted.shape[-1] == network.config.vocab_size
