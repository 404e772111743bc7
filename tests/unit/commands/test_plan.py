"""`rlhf plan`: a plan that fits, one that does not, and a proposal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from rlhf.commands.plan import plan
from rlhf.config.load import load
from rlhf.errors import ConfigError
from tests import models

RECIPE = Path(__file__).resolve().parents[3] / "conf" / "recipe" / "lora_7b.yaml"
QWEN_7B = {
    "model_type": "qwen2",
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}


def test_the_lora_recipe_fits_one_80_gb_gpu(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(QWEN_7B))
    settings = yaml.safe_load(RECIPE.read_text())
    settings.pop("defaults")
    settings["policy"]["path"] = str(file)
    plan(load({**settings, "peft": {"method": "lora"}, "plan": {"hardware": "1xa100-80gb"}}))
    out = capsys.readouterr().out
    assert "7,655,986,688 weights, 40,370,176 learn" in out
    assert "do not fit" not in out
    assert max(map(len, out.replace(str(file), "").splitlines())) <= 100


def test_what_does_not_fit_ends_in_a_proposal_and_an_error(tmp_path, capsys):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(QWEN_7B))
    asked = models.experiment(
        "deepspeed",
        policy={"path": str(file)},
        reward={"function": "x.py:f"},
        cluster={"gpus_per_rank": 1.0},
        plan={"hardware": "8xh100"},
    )
    with pytest.raises(ConfigError, match=r"a GPU needs [\d.]+ GiB, [\d.]+ more than 73.6"):
        plan(asked)
    out = capsys.readouterr().out
    assert "nearest that fits:" in out
    assert "cluster.policy.ranks=8" in out


def test_no_gpu_asked_for_is_a_proposal(folder, capsys):
    asked = models.experiment(
        "deepspeed",
        policy={"path": folder()},
        reward={"function": "x.py:f"},
        plan={"hardware": "2xh100"},
    )
    plan(asked)
    assert "no GPU is asked for" in capsys.readouterr().out
