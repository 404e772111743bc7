"""Settings over configs that are only shapes."""

from __future__ import annotations

import json

import pytest

from tests import models

LLAMA = {"model_type": "llama", "tie_word_embeddings": False, "max_position_embeddings": 4096}
SIZES = {
    "7b": {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008},
    "70b": {"vocab_size": 128256, "hidden_size": 8192, "intermediate_size": 28672},
}
DEPTHS = {
    "7b": {"num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32},
    "70b": {"num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8},
}


@pytest.fixture
def planned(tmp_path):
    """Give settings for a policy of a size, with a reward model of its shape."""

    def make(size: str = "7b", **sections: dict[str, object]):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({**LLAMA, **SIZES[size], **DEPTHS[size]}))
        known = {
            "policy": {"path": str(file)},
            "reward_model": {"path": str(file)},
            "generation": {"max_new_tokens": 128, "batch_size": 64, "temperature": 1.0},
            "ppo": {"rollout_batch_size": 64, "minibatch_size": 32, "num_epochs": 4},
        }
        return models.experiment("deepspeed", **{**known, **sections})

    return make
