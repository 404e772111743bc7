"""ModelShape: counts as the real networks have them, and as their makers publish them."""

from __future__ import annotations

import json

import pytest

from rlhf.config.model import NewModelConfig, PeftConfig
from rlhf.errors import ModelError
from rlhf.models.adapters import Adapter
from rlhf.models.model_shape import (
    adapter_weights,
    model_shape_of,
    new_model_shape,
    read_model_shape,
)
from rlhf.models.outline import num_weights
from tests import models

FAMILIES = ("llama", "qwen2", "gpt2", "mistral", "gemma2")
LLAMA_3_70B = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_the_network(folder, family):
    path = folder(family)
    assert read_model_shape(path).num_weights == num_weights(path)
    scalar = sum(weight.numel() for weight in models.classifier(family).parameters())
    assert model_shape_of(models.config(family), family, scalar=True).num_weights == scalar


def test_a_published_count_from_a_config_alone(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(LLAMA_3_70B))
    model_shape = read_model_shape(str(file))
    assert model_shape.num_weights == 70_553_706_496
    assert (model_shape.num_layers, model_shape.hidden, model_shape.key_width) == (80, 8192, 1024)
    assert model_shape.block_weights * 80 + 2 * 128256 * 8192 + 8192 == model_shape.num_weights
    assert read_model_shape(str(tmp_path)) == model_shape


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_are_counted_as_the_library_makes_them(family):
    network, config = models.causal(family), PeftConfig(method="lora", rank=3)
    predicted = adapter_weights(network.config, family, config, scalar=False)
    Adapter(network, config, seed=0)
    assert predicted == sum(w.numel() for w in network.parameters() if w.requires_grad)


def test_only_named_layers_are_adapted():
    llama = models.config("llama")
    only = PeftConfig(method="lora", rank=2, target_modules="q_proj, v_proj")
    assert adapter_weights(llama, "llama", only, scalar=False) == 2 * 2 * ((32 + 32) + (32 + 16))
    with pytest.raises(ModelError, match=r"peft.target_modules=c_attn: "):
        missing = PeftConfig(target_modules="c_attn")
        adapter_weights(llama, "llama", missing, scalar=False)


def test_what_blocks_are_like():
    found = {f: model_shape_of(models.config(f), f, scalar=False) for f in FAMILIES}
    assert {f: (a.norms, a.norm, a.mlp_tensors) for f, a in found.items()} == {
        "llama": (2, "rms", 4),
        "qwen2": (2, "rms", 4),
        "gpt2": (2, "layer", 5),
        "mistral": (2, "rms", 4),
        "gemma2": (4, "zero_rms", 4),
    }
    assert [f for f, a in found.items() if a.stores_scores] == ["gemma2"]
    assert [f for f, a in found.items() if not a.splits_head] == ["gemma2"]


def test_a_new_model_has_the_shape_it_is_made_with():
    model_shape = new_model_shape(NewModelConfig())
    assert (model_shape.num_layers, model_shape.hidden, model_shape.vocab) == (3, 128, 4096)


def test_what_cannot_be_sized_is_reported(tmp_path):
    with pytest.raises(ModelError, match="no config to size a model by"):
        read_model_shape(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "mixtral", "num_local_experts": 4}')
    with pytest.raises(ModelError, match="mixture of experts"):
        read_model_shape(str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ModelError, match="t5 .* is an encoder-decoder"):
        read_model_shape(str(tmp_path))


def test_a_family_without_a_classifier_in_transformers_is_sized_with_one():
    scalar = model_shape_of(models.config("granite"), "a", scalar=True)
    language = model_shape_of(models.config("granite", tie_word_embeddings=True), "a", scalar=False)
    assert scalar.num_weights == language.num_weights + scalar.hidden
