"""Adapters: those whose merged model could not be saved are refused before anything is trained."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager

import pytest

from rlhf.checks.adapters import check_adapters
from rlhf.checks.check import CheckWarning
from rlhf.errors import ModelError

LORA = {"method": "lora", "rank": 4, "alpha": 8}


@pytest.fixture
def sft(context, tmp_path):
    """Settings of SFT on one text, or of another command."""
    rows = tmp_path / "texts.jsonl"
    rows.write_text('{"text": "a film"}\n')

    def make(command="sft", **sections):
        data = {"demonstrations": str(rows), "preferences": str(rows)}
        return context(command, data=data, **sections)

    return make


def test_without_adapters_nothing_is_tried(sft):
    assert check_adapters(sft()) == "none are trained"


def test_what_the_stages_of_a_command_train_is_tried(sft, context):
    assert check_adapters(sft(peft=LORA)).startswith("1 models with lora were merged")
    assert check_adapters(sft("reward_model", peft=LORA)).startswith("1 models")
    assert check_adapters(context(peft=LORA)).startswith("2 models"), "policy and value model"
    no_value = {"advantage_estimator": "reinforce_pp"}
    assert check_adapters(context(peft=LORA, ppo=no_value)).startswith("1 models")


def test_a_stage_that_has_begun_was_tried_before_it_did(sft, tmp_path):
    run_dir = tmp_path / "begun"
    (run_dir / "checkpoints/sft").mkdir(parents=True)
    for command, tried in (("sft", 0), ("reward_model", 1)):
        asked = sft(command, peft=LORA, run_dir=str(run_dir))
        assert check_adapters(asked).startswith(f"{tried} models")
    (run_dir / "reward_model").mkdir()
    assert check_adapters(sft("reward_model", peft=LORA, run_dir=str(run_dir))).startswith("0 ")


def test_a_layer_whose_weight_is_the_embeddings_too_is_refused_in_one_line(sft, folder):
    tied = {**LORA, "target_modules": "q_proj,lm_head"}
    with pytest.raises(ModelError) as caught:
        check_adapters(sft(peft=tied))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{folder()}: adapters in peft.target_modules=q_proj,lm_head cannot")
    assert line.endswith("or set peft.method=none")
    # The scalar model has no such layer, and would never get to be saved.
    with pytest.raises(ModelError):
        check_adapters(sft("reward_model", peft={**LORA, "target_modules": "lm_head"}))


def test_a_layer_that_is_not_there_is_named(sft):
    with pytest.raises(ModelError, match=r"peft\.target_modules=k_projection"):
        check_adapters(sft(peft={**LORA, "target_modules": "k_projection"}))


def test_without_room_to_try_it_is_told_and_the_run_may_start(sft, tmp_path):
    with nowhere_for_files(tmp_path / "tmp"):
        said = check_adapters(sft(peft=LORA))
    assert isinstance(said, CheckWarning)
    assert re.search(r"adapters were not tried, as .*tmp", said)


@contextmanager
def nowhere_for_files(folder):
    """Let temporary files go to a folder that is gone."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
