"""A whole run with adapters: every folder it leaves loads by other software, and says the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from rlhf.checkpoint.artifact import verify
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import SCORE_MEAN, SCORE_STD, ScalarModel
from tests.integration.conftest import FAST, SOURCES, finished

ASKED = ("pipeline", *FAST, *SOURCES, "peft.method=lora", "ppo.num_steps=1")
LOADERS = {
    "sft": (AutoPeftModelForCausalLM, AutoModelForCausalLM),
    "policy": (AutoPeftModelForCausalLM, AutoModelForCausalLM),
    "reward_model": (AutoPeftModelForSequenceClassification, AutoModelForSequenceClassification),
    "value": (AutoPeftModelForSequenceClassification, AutoModelForSequenceClassification),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A pipeline with LoRA."""
    return finished(tmp_path_factory.mktemp("adapters"), *ASKED, "run_dir=run") / "run"


@pytest.mark.parametrize("kind", LOADERS)
def test_adapters_on_their_base_are_the_merged_model(run, kind):
    adapted, merged = (
        loader.from_pretrained(run / kind / below).eval()
        for loader, below in zip(LOADERS[kind], ("adapter", ""), strict=True)
    )
    base = Path(json.loads((run / kind / "adapter/adapter_config.json").read_text())[
        "base_model_name_or_path"
    ])  # fmt: skip
    assert base.is_dir()
    assert ".partial" not in str(base)
    tokens_BT = torch.arange(30, 42).reshape(2, 6)
    with torch.no_grad():
        got, wanted = (model(input_ids=tokens_BT).logits for model in (adapted, merged))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_the_reward_models_adapters_hold_what_was_learned(run):
    adapted = AutoPeftModelForSequenceClassification.from_pretrained(run / "reward_model/adapter")
    assert any(p.abs().max() > 0 for n, p in adapted.named_parameters() if "lora_B" in n)


def test_transformers_gives_our_score_by_the_formula_of_the_documents(run):
    path = run / "reward_model"
    words = AutoTokenizer.from_pretrained(path)
    theirs = AutoModelForSequenceClassification.from_pretrained(path).eval()
    config = theirs.config.to_dict()
    batch = words(["The film was good<|eos|>", "a<|eos|>"], padding=True, return_tensors="pt")
    ends_B = batch["attention_mask"].sum(1) - 1
    ours = ScalarModel(load_scalar(str(path), "trained"))
    with torch.no_grad():
        raw_B = theirs(**batch).logits[:, 0]
        positions_B = torch.arange(2) * batch["input_ids"].shape[1] + ends_B
        wanted_B = ours(batch["input_ids"], positions_B)
    got_B = (raw_B - config[SCORE_MEAN]) / config[SCORE_STD]
    torch.testing.assert_close(got_B, wanted_B, rtol=1e-4, atol=1e-5)


def test_a_run_that_was_moved_takes_its_bases_along(run):
    moved = run.rename(run.parent / "moved")
    finished(run.parent, *ASKED, "run_dir=moved")
    for kind in LOADERS:
        adapted = LOADERS[kind][0].from_pretrained(moved / kind / "adapter")
        assert Path(adapted.peft_config["default"].base_model_name_or_path).is_relative_to(moved)
        verify(moved / kind)
    moved.rename(run)
