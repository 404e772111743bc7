"""Published configs have as many weights as the published models."""

from __future__ import annotations

import pytest

from rlhf.models.model_shape import model_shape_of
from rlhf.models.published import KNOWN, published_config

WEIGHTS = {
    "Qwen/Qwen2.5-0.5B": 494_032_768,
    "Qwen/Qwen2.5-1.5B": 1_543_714_304,
    "Qwen/Qwen2.5-3B": 3_085_938_688,
    "Qwen/Qwen2.5-7B": 7_615_616_512,
    "Qwen/Qwen2.5-14B": 14_770_033_664,
    "Qwen/Qwen2.5-32B": 32_763_876_352,
    "Qwen/Qwen2.5-72B": 72_706_203_648,
    "Qwen/Qwen3-0.6B": 596_049_920,
    "Qwen/Qwen3-1.7B": 1_720_574_976,
    "Qwen/Qwen3-4B": 4_022_468_096,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
    "meta-llama/Llama-3.2-1B": 1_235_814_400,
    "meta-llama/Llama-3.2-3B": 3_212_749_824,
    "meta-llama/Llama-3.1-8B": 8_030_261_248,
    "meta-llama/Llama-3.1-70B": 70_553_706_496,
    "HuggingFaceTB/SmolLM2-135M": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B": 1_711_376_384,
    "mistralai/Mistral-7B-v0.1": 7_241_732_096,
    "mistralai/Mistral-7B-v0.3": 7_248_023_552,
}
"""Parameters as the hub counts them in each model's safetensors."""


def test_every_known_model_is_counted():
    assert WEIGHTS.keys() == KNOWN.keys()


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_config_makes_as_many_weights_as_were_published(name):
    config = published_config(name)
    assert config is not None
    assert model_shape_of(config, name, scalar=False).num_weights == WEIGHTS[name]


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3"])
def test_tuned_models_have_the_shape_of_their_base(name):
    assert published_config(name) is not None


def test_others_are_not_guessed():
    assert published_config("Qwen/Qwen2.5-8B") is None
    assert published_config("somebody/Qwen2.5-7B") is None
